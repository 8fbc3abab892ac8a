"""This process's side of sd_notify(3): what it hands to its holder, and what it tells it.

Rules of this file:

* What is served must not suffer from a holder that is gone or does not answer: from then on nothing is sent, nothing is
  waited for, and nothing is raised. It is logged once.
* The holder says nothing. That it has a descriptor is known by a barrier: one end of a pipe is sent behind it, and the
  other reads end-of-file once the holder has got that far and closed it.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Iterable, Mapping, MutableMapping
from typing import Final

import structlog

from ..keeper import valid_name
from .inherited import KEEPER_PID, inherited
from .no_holder import NoHolder
from .outbox import Outbox

_PATIENCE_S: Final = 5.0  # systemd answers within milliseconds; whoever takes this long hangs
_FIELD_CHARACTERS: Final = 500  # a datagram of more than 4096 bytes is dropped whole


class Holder:
    """Keeps descriptors for the process that comes after this one.

    Args:
        address: Its socket, as in NOTIFY_SOCKET.
        capacity: How many descriptors it keeps; None where that is unknown.
        keeper_pid: The keeper, which is this process's parent; None where the holder is a service manager.
        kept: What the process before left, by name.
        patience_s: How long it may take to answer.
    """

    def __init__(
        self,
        address: str,
        *,
        capacity: int | None = None,
        keeper_pid: int | None = None,
        kept: Mapping[str, int] | None = None,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.capacity: Final = capacity
        self.keeper_pid: Final = keeper_pid
        self._kept: Final = dict(kept or {})
        self._patience_s: Final = patience_s
        self._silence: Final = f"it has not answered within {patience_s:g} s"
        self._outbox: Final = Outbox(address, _log_loss)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> "Holder | NoHolder":
        """Find this process's holder, and take what it passed: LISTEN_* are gone from ``environ`` then."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("@", "/")):
            return NoHolder()
        pid, capacity = (_number(environ.get(variable, "")) for variable in (KEEPER_PID, "FDSTORE"))
        return cls(address, capacity=capacity, keeper_pid=pid, kept=inherited(environ))

    @property
    def alive(self) -> bool:
        """Whether what is stored outlives this process, as far as is known. Once False it stays so."""
        if not self._outbox.closed and self.keeper_pid is not None and os.getppid() != self.keeper_pid:
            self._lose("the keeper has ended")
        return not self._outbox.closed

    def inherited(self) -> dict[str, int]:
        """Return what the process before left; the descriptors are the caller's. They are still stored."""
        return dict(self._kept)

    async def store(self, named: Mapping[str, int]) -> None:
        """Return once the holder has all of ``named``, or is lost. The descriptors stay the caller's.

        A name should not be stored already: both would be kept, and the next process takes the newer. Of descriptors
        that are one open file (``keeper.same_file``) only the first is kept. What is more than ``capacity`` is dropped
        without a word to this process. Cancelled, any of them may be stored or not.

        Raises:
            ValueError: A name cannot be one; nothing is stored.
            OSError: A descriptor is not open; those before it may be stored.
        """
        _check(named)
        if not self.alive:
            return
        try:
            barrier = self._send(named)
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            self._lose(f"this process has no descriptors left: {error.strerror}")
            return
        try:
            await self._wait(_readable(barrier))
            # The pipe decides, not the time: this process itself may have been held up.
            os.read(barrier, 1)
        except BlockingIOError:
            self._lose(self._silence)
        finally:
            os.close(barrier)

    def remove(self, names: Iterable[str]) -> None:
        """Have all of these names closed, behind what was stored before, without waiting for it.

        Raises:
            ValueError: A name cannot be one; nothing is removed.
        """
        names = list(names)
        _check(names)
        if self.alive:
            for name in names:
                self._outbox.put(f"FDSTOREREMOVE=1\nFDNAME={name}".encode())

    async def notify(self, **fields: str) -> None:
        """Tell the holder ``KEY=value`` for each field; return when it is sent. Each value becomes one short line."""
        lines = [f"{key}={' '.join(value.split())[:_FIELD_CHARACTERS]}" for key, value in fields.items()]
        if self.alive:
            self._outbox.put("\n".join(lines).encode(errors="replace"))
            await self._wait(self._outbox.sent())
            if not self._outbox.empty:
                self._lose(self._silence)

    async def ready(self) -> None:
        """Say that this process serves: from now on it is started again when it dies."""
        await self.notify(READY="1")

    async def status(self, text: str) -> None:
        """Say for people what this process does."""
        await self.notify(STATUS=text)

    async def watchdog(self) -> None:
        """Say that this process does not hang."""
        await self.notify(WATCHDOG="1")

    def close(self) -> None:
        """Send no more. What is stored stays stored. Closing twice is harmless."""
        self._outbox.close()

    def _send(self, named: Mapping[str, int]) -> int:
        """Send all of ``named`` and a barrier; return the end of it to wait at."""
        for name, fd in named.items():
            self._outbox.put(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0".encode(), os.dup(fd))
        ours, theirs = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._outbox.put(b"BARRIER=1", theirs)
        return ours

    async def _wait(self, event: Awaitable[None]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await event

    def _lose(self, reason: str) -> None:
        if not self._outbox.closed:
            self._outbox.close()
            _log_loss(reason)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(fd)


def _check(names: Iterable[str]) -> None:
    for name in names:
        if not valid_name(name):
            raise ValueError(f"a descriptor cannot be stored as {name!r}")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None


def _log_loss(reason: str) -> None:
    structlog.get_logger().error(
        "the holder of descriptors is lost: what is served now ends with this process", reason=reason
    )
