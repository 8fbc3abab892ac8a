"""The keeper, or a stand-in for systemd, with the daemon under it."""

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Final, Protocol

from .guests import FakeSystemd
from .plan import BOUND_S
from .violation import Violation

_CAPACITY: Final = 512


class Holding(Protocol):
    """A holder and the daemon under it.

    ``goes_on`` says whether SIGTERM for the daemon is no end: a service manager may start it again, so guests stay.
    """

    @property
    def goes_on(self) -> bool:
        """Whether sockets and descriptors are left for a next start."""

    async def start(self) -> None:
        """Start both."""

    def worker(self) -> int | None:
        """Return the process id of the worker there is; None between two."""

    def descriptors(self) -> list[str]:
        """Return what the holder has, a text for each descriptor."""

    def check(self) -> None:
        """Raise a :class:`Violation` where the holder is not alive."""

    async def end(self) -> None:
        """Have all end by SIGTERM; raise a :class:`Violation` where it does not, or not cleanly."""

    async def kill(self) -> None:
        """Leave nothing running."""


class Kept:
    """The daemon under its keeper.

    Args:
        config: Its configuration.
        log: Where both log.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self._command: Final = [sys.executable, "-m", "torture.quick_keeper", *_serve(config)]
        self._log: Final = log
        self._process: asyncio.subprocess.Process | None = None

    goes_on: Final = False

    async def start(self) -> None:
        """Start both."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environ(),
                start_new_session=True,
                cwd=Path(__file__).parents[1],
            )

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def worker(self) -> int | None:
        """Return the process id of the worker there is; None between two."""
        pid = self._running.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
            return next((int(child) for child in children if not _is_dead(int(child))), None)
        return None

    def descriptors(self) -> list[str]:
        """Return all that the keeper has."""
        return open_descriptors(self._running.pid)

    def check(self) -> None:
        """Raise a :class:`Violation` where the keeper is not alive."""
        if self._running.returncode is not None:
            raise Violation(f"the keeper ended with status {self._running.returncode}")

    async def end(self) -> None:
        """Have both end by SIGTERM."""
        await _ended(self._running, self.worker(), "keeper")

    async def kill(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


class StandIn:
    """The daemon as a service of what does as systemd does.

    Args:
        config: Its configuration.
        log: Where it logs.
    """

    def __init__(self, config: Path, log: Path) -> None:
        words = " ".join(shlex.quote(word) for word in [sys.executable, *_serve(config)[1:]])
        command = ["/bin/sh", "-c", f"exec {words} >>{shlex.quote(str(log))} 2>&1"]
        environ = {**_environ(), "PYTHONPATH": str(Path(__file__).parents[1])}
        self._systemd: Final = FakeSystemd(config.with_name("notify"), command, environ, _CAPACITY)
        self._again: asyncio.Task[None] | None = None

    goes_on: Final = True

    async def start(self) -> None:
        """Start it, and start it again whenever it ends."""
        await self._systemd.__aenter__()
        await self._systemd.start()
        self._again = asyncio.create_task(self._restart())

    async def _restart(self) -> None:
        while True:
            await self._running.wait()
            await self._systemd.replaced()

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._systemd.process is not None
        return self._systemd.process

    def worker(self) -> int | None:
        """Return the process id of the service; None between two."""
        return None if self._running.returncode is not None or _is_dead(self._running.pid) else self._running.pid

    def descriptors(self) -> list[str]:
        """Return the names of all that is stored."""
        return sorted(self._systemd.names)

    def check(self) -> None:
        """Raise a :class:`Violation` where the service is not started again any more."""
        if self._again is not None and self._again.done():
            raise Violation(f"the service is not started again: {self._again.exception()!r}")

    async def end(self) -> None:
        """Have it end by SIGTERM."""
        await self._stop_restarting()
        await _ended(self._running, None, "service")

    async def kill(self) -> None:
        """Leave nothing running."""
        await self._stop_restarting()
        await self._systemd.__aexit__()

    async def _stop_restarting(self) -> None:
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)


def open_descriptors(pid: int) -> list[str]:
    """Return what a process has open, a text for each."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(path.readlink()))
    return sorted(found)


async def _ended(process: asyncio.subprocess.Process, other: int | None, what: str) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(BOUND_S):
            await process.wait()
    except TimeoutError:
        raise Violation(f"the {what} does not end within {BOUND_S:g} s of SIGTERM") from None
    if process.returncode:
        raise Violation(f"the {what} ends with status {process.returncode} on SIGTERM")
    if other is not None and not _is_dead(other):
        raise Violation(f"the worker {other} outlives its {what}")


def _serve(config: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "vballoond", "serve", "--config", str(config))


def _environ() -> dict[str, str]:
    ours = ("NOTIFY_SOCKET", "LISTEN_", "FDSTORE", "VBALLOOND_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _is_dead(pid: int) -> bool:
    """Say whether a process is gone, or is a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
