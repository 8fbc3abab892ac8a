"""Doorbells: descriptors by which a driver kicks a queue and is notified.

Usually eventfds, but user-mode Linux hands over stream sockets and calls them pipes, so a notification is eight bytes
written, and a kick is whatever can be read. The value says nothing (vhost-user.rst, "Inter-thread notification").
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Final

_ONE: Final = (1).to_bytes(8, "little")
_DRAIN_BYTES: Final = 4096


def ring(fd: int) -> None:
    """Notify whoever reads ``fd``. A full doorbell has been rung already; one without a far end rings for nobody."""
    with contextlib.suppress(OSError):
        os.write(fd, _ONE)


class KickReader:
    """Calls ``kicked`` whenever ``fd`` was rung, until closed.

    Args:
        fd: Stays the caller's, who closes it after :meth:`close`; non-blocking, of a kind that can be waited for.
        kicked: Called from the event loop; must not wait.
    """

    def __init__(self, fd: int, kicked: Callable[[], None]) -> None:
        self._fd: int | None = fd
        self._kicked: Final = kicked
        self._loop: Final = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._ready)

    def close(self) -> None:
        """Listen no more. Closing twice is harmless, also when the descriptor's number has a new owner by then."""
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            self._fd = None

    def _ready(self) -> None:
        assert self._fd is not None
        try:
            data = os.read(self._fd, _DRAIN_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # The far end is gone, and the descriptor would be ready for ever.
            self.close()
        self._kicked()
