"""The test's end of a scripted worker, and the two holders that it can run under, used alike."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from support.fake_systemd import FakeSystemd

_PATIENCE_S = 30
_ROOT = Path(__file__).parents[2]
SCRIPT = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
KEEPER = [sys.executable, "-m", "vballoond.keeper", "--"]


class Worker:
    """One life of the worker, with what it said of itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def __aenter__(self) -> Self:
        said = json.loads(await self._reader.readline())
        self.pid: int = said["pid"]
        self.names: list[str] = said["names"]
        self.environ: dict[str, str] = said["environ"]
        return self

    async def __aexit__(self, *details: object) -> None:
        self._writer.close()

    def tell(self, command: str, *arguments: Any) -> None:
        """Have it do something that it does not live to answer."""
        self._writer.write(json.dumps([command, arguments]).encode() + b"\n")

    async def ask(self, command: str, *arguments: Any) -> Any:
        """Have it do something; return what it says."""
        self.tell(command, *arguments)
        async with asyncio.timeout(_PATIENCE_S):
            line = await self._reader.readline()
        assert line, f"the worker died of {command}"
        return json.loads(line)

    async def ended(self) -> None:
        """Wait until it is dead, or has closed its end."""
        async with asyncio.timeout(_PATIENCE_S):
            while await self._reader.read(4096):
                pass


class Workers:
    """Where workers call in."""

    def __init__(self, control: Path) -> None:
        self.control = control
        self._calls: asyncio.Queue[Worker] = asyncio.Queue()
        self._all: list[Worker] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._call, self.control, limit=1 << 20)
        return self

    async def __aexit__(self, *details: object) -> None:
        self._server.close()
        for worker in self._all:
            await worker.__aexit__()

    @property
    def environ(self) -> dict[str, str]:
        """What a scripted worker, or a keeper of one, is to be started with."""
        ours = ("NOTIFY_SOCKET", "LISTEN_", "FDSTORE", "VBALLOOND_")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        return kept | {"CONTROL": str(self.control), "PYTHONPATH": str(_ROOT)}

    async def next(self) -> Worker:
        """Return the next worker that calls in."""
        async with asyncio.timeout(_PATIENCE_S):
            worker = await self._calls.get()
        self._all.append(worker)
        return await worker.__aenter__()

    def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._calls.put_nowait(Worker(reader, writer))


class KeeperProcess:
    """A keeper, running, with what it says on standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """Return the next line that it says."""
        async with asyncio.timeout(_PATIENCE_S):
            return (await self.process.stderr.readline()).decode().removeprefix("vballoond keeper: ").rstrip("\n")

    async def status(self) -> int:
        """Wait for its end."""
        async with asyncio.timeout(_PATIENCE_S):
            return await self.process.wait()

    async def replaced(self) -> None:
        """Wait for nothing: a keeper starts the next worker by itself."""

    async def end(self) -> None:
        """End it, and its worker with it."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self.process.communicate()
        finally:
            if self.process.returncode is None:
                self.process.kill()


@asynccontextmanager
async def keeper(workers: Workers, *command: str, **options: Any) -> AsyncIterator[KeeperProcess]:
    """A keeper of ``command``, or of a scripted worker; ``launch`` is what it is started by."""
    launch = options.pop("launch", KEEPER)
    process = await asyncio.create_subprocess_exec(
        *launch, *(command or SCRIPT), env=workers.environ, **{"stderr": asyncio.subprocess.PIPE, **options}
    )
    running = KeeperProcess(process)
    try:
        yield running
    finally:
        await running.end()


@asynccontextmanager
async def keeper_of(workers: Workers, capacity: int) -> AsyncIterator[KeeperProcess]:
    """A keeper that has room for so many descriptors."""
    async with keeper(
        workers, launch=["sh", "-c", f'ulimit -n {64 + 2 * capacity}; exec "$@"', "sh", *KEEPER]
    ) as running:
        yield running


@asynccontextmanager
async def systemd_of(workers: Workers, capacity: int) -> AsyncIterator[FakeSystemd]:
    """The fake of systemd, with room for so many descriptors."""
    async with FakeSystemd(workers.control.with_name("notify"), SCRIPT, workers.environ, capacity) as systemd:
        await systemd.start()
        yield systemd


async def killed_and_replaced(holder: KeeperProcess | FakeSystemd, workers: Workers, worker: Worker) -> Worker:
    """Kill a worker; return the next one."""
    os.kill(worker.pid, signal.SIGKILL)
    await holder.replaced()
    return await workers.next()
