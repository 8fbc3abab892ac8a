"""One balloon's workers, one after the other, and the holder between them: what a test needs to let workers die.

Zygote       a process that forks workers (``support.dying_worker``)
SmallHolder  keeps what they hand over, as the keeper does
Lives        a worker, and the next one as soon as that is dead
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from support.dying_worker import Step

from vballoond.keeper import DescriptorStore, parse_message

_ROOT = Path(__file__).parents[2]
_CONTROL_BYTES = socket.CMSG_SPACE(253 * 4)
_PATIENCE_S = 20.0


class Zygote:
    """Use it as a context manager."""

    def __enter__(self) -> Self:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("dying_worker.py")), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
            )
        return self

    def __exit__(self, *details: object) -> None:
        self._orders.close()
        self._process.kill()
        self._process.wait()

    def fork(self, order: dict[str, Any], fds: Sequence[int]) -> None:
        """Have a worker forked."""
        socket.send_fds(self._orders, [json.dumps(order).encode()], list(fds))


class SmallHolder:
    """Has what workers store, by the protocol of sd_notify; one worker lives at a time, so all that comes is its."""

    def __init__(self, capacity: int = 256) -> None:
        self.store = DescriptorStore(capacity)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.address = f"@vballoond-test-{os.urandom(8).hex()}"
        self._socket.bind("\0" + self.address[1:])
        asyncio.get_running_loop().add_reader(self._socket, self.take)

    def close(self) -> None:
        """Have nothing any more."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        for fd in self.store.fds:
            os.close(fd)

    def take(self) -> None:
        """Handle all that was sent."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take_one()

    def _take_one(self) -> None:
        data, control, _, _ = self._socket.recvmsg(4096, _CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
        fds = [fd for *_, content in control for fd in struct.unpack(f"{len(content) // 4}i", content)]
        message = parse_message(data)
        if message.get("FDSTOREREMOVE") == "1":
            self.store.remove(message["FDNAME"])
        if message.get("FDSTORE") == "1":
            assert self.store.add(message["FDNAME"], *fds)
            return
        for fd in fds:  # a barrier is answered so
            os.close(fd)


class Lives:
    """Workers of one balloon; the first ones die where ``deaths`` says, the last one does not.

    Args:
        zygote: Forks them.
        holder: Has what they leave.
        settings: The balloon.
        deaths: Where each but the last one dies.
        bereft: Called when one is dead, before the next one lives.
        log: Where they log.
        record: Whether the last one counts the lines that it reaches.
    """

    def __init__(
        self,
        zygote: Zygote,
        holder: SmallHolder,
        settings: dict[str, Any],
        deaths: Sequence[Step],
        bereft: Callable[[], Any],
        log: Path,
        *,
        record: bool = False,
    ) -> None:
        self.died: list[Step] = []
        self._zygote = zygote
        self._holder = holder
        self._settings = settings
        self._deaths = list(deaths)
        self._bereft = bereft
        self._log = log
        self._record = record
        self._ready = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._answer: asyncio.Future[bytes | None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *details: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._let_go()

    async def serving(self) -> None:
        """Wait until a worker listens."""
        async with asyncio.timeout(_PATIENCE_S):
            await self._ready.wait()

    async def ask(self, command: str, *arguments: Any) -> Any:
        """Have the worker that there is do something; ask the next one where it dies of it. Return what it says."""
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                await self._ready.wait()
                self._answer = asyncio.get_running_loop().create_future()
                self._writer.write(json.dumps([command, arguments]).encode() + b"\n")
                if (said := await self._answer) is not None:
                    return json.loads(said)

    async def _live(self) -> None:
        for step in [*self._deaths, None]:
            self._holder.take()
            reader = await self._fork(step)
            if await _line(reader):
                self._ready.set()
                while line := await _line(reader):
                    self._answered(line)
            self._ready.clear()
            self._answered(None)
            await self._let_go()
            assert step is not None, f"the worker that was not to die is dead:\n{self._log.read_text()}"
            self.died.append(step)
            self._holder.take()
            await self._bereft()

    async def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    def _answered(self, line: bytes | None) -> None:
        if self._answer is not None:
            self._answer.set_result(line)
            self._answer = None

    async def _fork(self, step: Step | None) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        order = {
            "notify": self._holder.address,
            "names": self._holder.store.names,
            "settings": self._settings,
            "log": str(self._log),
            "die": step,
            "record": self._record and step is None,
        }
        with theirs:
            self._zygote.fork(order, [theirs.fileno(), *self._holder.store.fds])
        reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 24)
        return reader


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return a whole line; nothing where the worker is dead."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return b""
    return line if line.endswith(b"\n") else b""
