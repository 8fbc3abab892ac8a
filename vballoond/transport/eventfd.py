"""Signalling an eventfd as the kernel's own devices do: it never waits.

An eventfd is one open file that front-end and back-end share, flags and all. A front-end that fills its counter and
clears O_NONBLOCK would have a plain write wait for ever, and the daemon with it; no check before the write helps, since
it can do so in between. The kernel's asynchronous I/O (io_submit(2), IOCB_FLAG_RESFD) signals an eventfd when a request
completes, and there a full counter just stays full. So it is asked to read nothing at all from the eventfd, which it
refuses at once, and so completes.
"""

import ctypes
import errno
import os
import platform
import struct
from typing import Final

import structlog

_SYSCALLS: Final = {"x86_64": (206, 208, 209), "aarch64": (0, 4, 2)}.get(platform.machine())
"""io_setup, io_getevents, io_submit."""

_REQUESTS: Final = 128  # completed ones that are collected at a time
_IO_EVENT_BYTES: Final = 32
_IOCB: Final = struct.Struct("=QIiHhIQQqQII")  # linux/aio_abi.h, little-endian machines
_IOCB_CMD_PREAD: Final = 0
_IOCB_FLAG_RESFD: Final = 1
_ONE: Final = (1).to_bytes(8, "little")


class EventfdSignaller:
    """Signals eventfds. Where the kernel has no asynchronous I/O, or a sandbox forbids it, it writes to them."""

    def __init__(self) -> None:
        self._syscall: Final = ctypes.CDLL(None, use_errno=True).syscall
        self._context: Final = ctypes.c_ulong(0)
        self._iocb: Final = ctypes.create_string_buffer(_IOCB.size)
        self._iocbs: Final = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))
        self._events: Final = ctypes.create_string_buffer(_REQUESTS * _IO_EVENT_BYTES)
        self._setup, self._getevents, self._submit = _SYSCALLS or (0, 0, 0)
        self.never_waits = True
        self.never_waits = self._works()
        if not self.never_waits:
            structlog.get_logger().warning("no asynchronous I/O here: a monitor can make the daemon wait for it")

    def signal(self, fd: int) -> None:
        """Add 1 to the counter of ``fd``, unless it is full.

        Raises:
            OSError: It is no eventfd.
        """
        if not self.never_waits:
            self._write(fd)
            return
        _IOCB.pack_into(self._iocb, 0, 0, 0, 0, _IOCB_CMD_PREAD, 0, fd, 0, 0, 0, 0, _IOCB_FLAG_RESFD, fd)
        if self._submitted():
            return
        if ctypes.get_errno() == errno.EAGAIN:
            self._syscall(self._getevents, self._context, 0, _REQUESTS, self._events, None)
            if self._submitted():
                return
        raise OSError(ctypes.get_errno(), "eventfd cannot be signalled")

    def _works(self) -> bool:
        if _SYSCALLS is None or self._syscall(self._setup, _REQUESTS, ctypes.byref(self._context)):
            return False
        probe = os.eventfd(0, os.EFD_NONBLOCK)
        try:
            self.signal(probe)
            return os.eventfd_read(probe) == 1
        except OSError:
            return False
        finally:
            os.close(probe)

    def _submitted(self) -> bool:
        return bool(self._syscall(self._submit, self._context, 1, self._iocbs) == 1)

    def _write(self, fd: int) -> None:
        os.set_blocking(fd, False)
        try:
            os.write(fd, _ONE)
        except BlockingIOError:
            return
