"""The loop: hold what the worker sends, pass signals on, and start the next worker when this one has ended.

Rules of this file:

* It drops what it cannot make sense of, and believes only its worker, known by the process id that the kernel puts on a
  message.
* A signal is a byte in a pipe until it is handled.
"""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

from .backoff import Backoff
from .say import say
from .store import DescriptorStore, close_quietly, parse_message, valid_name
from .worker import FIRST_FD, start_worker

_OWN_FDS: Final = 64  # what the keeper has beside those that it stores, generously
_MESSAGE_BYTES: Final = 4096  # what systemd takes
_CONTROL_BYTES: Final = socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12)  # SCM_MAX_FD descriptors, and a ucred
_QUEUE_MAX: Final = 1 << 16  # more messages than a socket's queue can hold: a flood of them delays no restart for long
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (*_ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Keeper:
    """Keeps a worker running, and its descriptors open, until it is told to end or the first worker fails to start."""

    def __init__(self, command: list[str], backoff: Backoff) -> None:
        self._command: Final = command
        self._backoff: Final = backoff
        for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 (names are wanted, not paths)
            with contextlib.suppress(OSError):  # the directory itself is closed by now
                os.set_inheritable(fd, fd < FIRST_FD)
        _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self._store: Final = DescriptorStore(max(0, limit - _OWN_FDS) // 2)  # half: _lay_out() has each of them twice
        self._worker: int | None = None
        self._ready_since_s: float | None = None
        self._asked_to_end = 0
        self._socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._address: Final = f"vballoond-keeper-{os.urandom(8).hex()}"
        self._socket.bind(f"\0{self._address}")
        self._signals, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Return the status to exit with: that of the worker; 128 + signal where one ended it, or came between two."""
        was_ready = False
        while True:
            self._ready_since_s = None
            try:
                self._worker = start_worker(self._command, self._store, self._address)
            except OSError as error:
                what = f"the worker cannot be started: {error.strerror}"
            else:
                code = os.waitstatus_to_exitcode(self._wait())
                was_ready = was_ready or self._ready_since_s is not None
                if self._asked_to_end or not was_ready:
                    return code if code >= 0 else 128 - code
                what = f"the worker ended with status {code}" if code >= 0 else f"signal {-code} ended the worker"
            now_s = time.monotonic()
            pause_s = self._backoff.next_s(now_s - (self._ready_since_s or now_s))
            say(f"{what}; the next one starts {f'in {pause_s:g} s' if pause_s else 'now'}")
            while not self._asked_to_end and (left_s := now_s + pause_s - time.monotonic()) > 0:
                self._turn(left_s)
            self._take_signals()
            if self._asked_to_end:
                return 128 + self._asked_to_end

    def _wait(self) -> int:
        """Serve the worker until it has ended, and take what it sent just before; return its wait status."""
        assert self._worker is not None
        pid = 0
        while not pid:
            self._turn()
            pid, status = os.waitpid(self._worker, os.WNOHANG)
        for _ in range(_QUEUE_MAX):
            if not self._receive():
                break
        self._worker = None
        self._take_signals()
        return status

    def _turn(self, timeout_s: float | None = None) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._signals, select.POLLIN)
        poll.poll(None if timeout_s is None else timeout_s * 1000)
        self._receive()
        self._take_signals()

    def _take_signals(self) -> None:
        with contextlib.suppress(OSError):
            for number in os.read(self._signals, 4096):
                if number in _ENDING:
                    self._asked_to_end = number
                if number in _PASSED_ON and self._worker is not None:
                    os.kill(self._worker, number)

    def _receive(self) -> bool:
        """Handle one message; False: there is none."""
        try:
            data, control, flags, _ = self._socket.recvmsg(_MESSAGE_BYTES, _CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        sender: int | None = None
        fds: list[int] = []
        for _, kind, content in control:
            if kind == socket.SCM_CREDENTIALS:
                sender, *_ = struct.unpack("iII", content)
            elif kind == socket.SCM_RIGHTS:
                fds += struct.unpack(f"{len(content) // 4}i", content)
        whole = not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        if whole and sender is not None and sender == self._worker:
            fds = self._handle(parse_message(data), fds)
        for fd in fds:
            close_quietly(fd)
        return True

    def _handle(self, message: Mapping[str, str], fds: list[int]) -> list[int]:
        """Do what a worker's message says; return the descriptors to be closed, by which a barrier is answered."""
        name = message.get("FDNAME", "")
        if "BARRIER" in message:
            return fds
        if message.get("READY") == "1" and self._ready_since_s is None:
            self._ready_since_s = time.monotonic()
        if message.get("FDSTOREREMOVE") == "1":
            self._store.remove(name)
        if message.get("FDSTORE") != "1":
            return fds
        name = name if valid_name(name) else "stored"
        for fd in fds:
            if not self._store.add(name, fd):
                say(f"the store is full with {len(self._store.fds)} descriptors: {name!r} is not kept")
        return []
