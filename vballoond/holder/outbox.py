"""Datagrams to a holder, in order, without blocking the event loop.

Rules of this file:

* A descriptor that is put belongs to the outbox, and is closed once it is sent, or cannot be any more. So nobody has to
  keep a descriptor open for a message that waits.
* The socket is connected: only then the kernel says when there is room in the holder's queue again.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

_LATER: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})


class Outbox:
    """Sends what is put, at once where there is room.

    Args:
        address: The holder's socket: a path, or a name with ``@`` for the NUL of the abstract namespace.
        failed: Called, from any method, where it cannot be sent any more; the outbox is closed by then.
    """

    def __init__(self, address: str, failed: Callable[[str], None]) -> None:
        self.closed = False
        self._failed: Final = failed
        self._waiting: Final[deque[tuple[bytes, int | None]]] = deque()
        self._empty: Final = asyncio.Event()
        self._empty.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            self._fail(error)

    def put(self, data: bytes, fd: int | None = None) -> None:
        """Send ``data``, with ``fd``, behind all that was put before."""
        self._waiting.append((data, fd))
        if self.closed:
            self._drop()
        else:
            self._empty.clear()
            self._send()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._empty.is_set()

    async def sent(self) -> None:
        """Wait until everything was sent, or nothing can be."""
        await self._empty.wait()

    def close(self) -> None:
        """Send no more. Closing twice is harmless."""
        self.closed = True
        self._stop_waiting()
        self._socket.close()
        self._drop()

    def _send(self) -> None:
        try:
            while self._waiting:
                data, fd = self._waiting[0]
                socket.send_fds(self._socket, [data], [] if fd is None else [fd])
                self._close_first()
        except OSError as error:
            if error.errno in _LATER:
                self._wait()
            else:
                self._fail(error)
        else:
            self._stop_waiting()
            self._empty.set()

    def _wait(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_writer(self._socket, self._send)

    def _stop_waiting(self) -> None:
        if self._loop is not None:
            self._loop.remove_writer(self._socket)
            self._loop = None

    def _fail(self, error: OSError) -> None:
        self.close()
        self._failed(error.strerror or str(error))

    def _drop(self) -> None:
        while self._waiting:
            self._close_first()
        self._empty.set()

    def _close_first(self) -> None:
        _, fd = self._waiting.popleft()
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)
