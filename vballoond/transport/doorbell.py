"""Doorbells: descriptors by which a driver kicks a queue and is notified.

Rules of this file:

* Usually they are eventfds, but user-mode Linux hands over stream sockets and calls them pipes, so a notification is
  eight bytes written, and a kick is whatever arrives. The value says nothing (vhost-user.rst, "Inter-thread
  notification").
* The far end shares the open file and can change its flags at any time, so nothing here relies on O_NONBLOCK: sockets
  have MSG_DONTWAIT, pipes are opened anew, eventfds are signalled as the kernel does (``eventfd``).
* Kicks are heard by their arrival (EPOLLET), and an eventfd is never read. So one that is always ready, as a semaphore
  (EFD_SEMAPHORE) is until it was read often enough, is one kick and not a thousand.
"""

import asyncio
import contextlib
import fcntl
import functools
import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from ..errors import FrontEndError
from .eventfd import EventfdSignaller

_ONE: Final = (1).to_bytes(8, "little")
_EVENTFD_LINK: Final = "anon_inode:[eventfd]"
_DRAIN_BYTES: Final = 4096
_MOST_KICKS: Final = 64  # heard in one turn of the event loop; there are five rings

_signaller = functools.cache(EventfdSignaller)


def check_doorbell(fd: int) -> None:
    """Refuse what is no doorbell, before anything depends on it.

    Raises:
        FrontEndError: It is neither an eventfd nor a socket nor a pipe.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or str(Path(f"/proc/self/fd/{fd}").readlink()) == _EVENTFD_LINK):
        raise FrontEndError("a descriptor that is no doorbell: neither an eventfd nor a socket nor a pipe")


def ring(fd: int) -> None:
    """Notify whoever reads ``fd``. A full doorbell has been rung already; one without a far end rings for nobody."""
    with contextlib.suppress(OSError):
        send(fd, _ONE)


def send(fd: int, data: bytes) -> int:
    """Write ``data`` without waiting, and return how much of it was; an eventfd is signalled, whatever it says.

    Raises:
        OSError: There is no room, or nobody to read it.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        with _borrowed(fd) as borrowed:
            return borrowed.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    if stat.S_ISFIFO(mode):
        with _reopened(fd, os.O_WRONLY) as own:
            return os.write(own, data)
    _signaller().signal(fd)
    return len(data)


class Kicks:
    """Hears the kicks of a number of rings, from the moment at which each is listened for.

    Args:
        kicked: Called from the event loop with the number of a ring; must not wait.
    """

    def __init__(self, kicked: Callable[[int], None]) -> None:
        self._kicked: Final = kicked
        self._fds: Final[dict[int, int]] = {}
        self._epoll: Final = select.epoll()
        self._loop: Final = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll, self._ready)

    def listen(self, index: int, fd: int) -> None:
        """Hear ring ``index`` kicked by ``fd``, which stays the caller's and open until it is forgotten."""
        self.forget(index)
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        self._fds[index] = fd

    def forget(self, index: int) -> None:
        """Hear no more of ring ``index``, if it was listened for."""
        fd = self._fds.pop(index, None)
        if fd is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Hear no more of any."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll)
            self._epoll.close()

    def _ready(self) -> None:
        arrived = {fd for fd, _ in self._epoll.poll(0, _MOST_KICKS)}
        for index, fd in list(self._fds.items()):
            if fd in arrived:
                _drain(fd)
                self._kicked(index)


def _drain(fd: int) -> None:
    """Make room for more kicks where they take any."""
    mode = os.fstat(fd).st_mode
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(mode):
            with _borrowed(fd) as borrowed:
                borrowed.recv(_DRAIN_BYTES, socket.MSG_DONTWAIT)
        elif stat.S_ISFIFO(mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY:
            with _reopened(fd, os.O_RDONLY) as own:
                os.read(own, _DRAIN_BYTES)


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    borrowed = socket.socket(fileno=fd)
    try:
        yield borrowed
    finally:
        borrowed.detach()


@contextlib.contextmanager
def _reopened(fd: int, access: int) -> Iterator[int]:
    own = os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield own
    finally:
        os.close(own)
