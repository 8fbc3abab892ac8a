"""The keeper: holds the descriptors of a worker, and starts the next worker with them when it dies.

    python -m vballoond.keeper -- COMMAND...

It is to its worker what systemd and its descriptor store are to a service, by the same protocol: sd_notify(3).

Rules of this file:

* Guests die with the keeper, so it has no reason to die: it stands alone on the standard library, and drops what it
  cannot make sense of.
* It believes only its worker, known by the process id that the kernel puts on a message.
* A signal is a byte in a pipe until it is handled. All are blocked from the fork until the worker has the default
  dispositions, so that none ends in a copy of the keeper.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping
from functools import cmp_to_key
from typing import Final, NoReturn

_LISTEN: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
_OWN_FDS: Final = 64  # what the keeper has beside those that it stores, generously
_MESSAGE_BYTES: Final = 4096  # what systemd takes
_CONTROL_BYTES: Final = socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12)  # SCM_MAX_FD descriptors, and a ucred
_QUEUE_MAX: Final = 1 << 16  # more messages than a socket's queue can hold: a flood of them delays no restart for long
_NAMES_BYTES_MAX: Final = (128 << 10) - 64  # a string of the environment: with a longer one no exec succeeds (E2BIG)
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_PASSED_ON: Final = (*_ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_KCMP: Final = {"x86_64": 312, "aarch64": 272, "riscv64": 272, "ppc64le": 354, "s390x": 343}.get(os.uname().machine, -1)
_syscall = ctypes.CDLL(None).syscall


def same_file(fd_a: int, fd_b: int) -> bool:
    """Say whether both are one open file description; where kcmp(2) is not permitted, none are known to be."""
    return _compare(fd_a, fd_b) == 0


def valid_name(name: str) -> bool:
    """Say whether a descriptor can have this name: 1 to 255 printable characters of ASCII, no colon."""
    return 0 < len(name) <= 255 and name.isascii() and name.isprintable() and ":" not in name


def parse_message(data: bytes) -> Mapping[str, str]:
    """Return the assignments of a message, of each variable the first; none where it is not UTF-8."""
    try:
        lines = [line.partition("=") for line in data.decode().split("\n")]
    except UnicodeDecodeError:
        return {}
    return {key: value for key, equals, value in reversed(lines) if equals}


class DescriptorStore:
    """Owns descriptors, each under a name, in the order in which they came; of one open file only the first."""

    def __init__(self, capacity: int) -> None:
        self.capacity: Final = capacity
        self._names: Final[dict[int, str]] = {}
        self._by_file: Final[list[int]] = []  # sorted, so that finding a duplicate takes few system calls

    @property
    def names(self) -> list[str]:
        """The name of each descriptor."""
        return list(self._names.values())

    @property
    def fds(self) -> list[int]:
        """The descriptors."""
        return list(self._names)

    def add(self, name: str, fd: int) -> bool:
        """Take ``fd`` over; a duplicate is closed. False: the store is full, ``fd`` is closed."""
        key = cmp_to_key(_compare)
        place = bisect_left(self._by_file, key(fd), key=key)
        duplicate = any(same_file(fd, held) for held in self._by_file[place : place + 1])
        full = len(self._names) >= self.capacity or len(":".join([*self.names, name])) > _NAMES_BYTES_MAX
        if duplicate or full:
            os.close(fd)
            return duplicate
        self._by_file.insert(place, fd)
        self._names[fd] = name
        return True

    def remove(self, name: str) -> None:
        """Close all of that name."""
        for fd in [fd for fd, its_name in self._names.items() if its_name == name]:
            del self._names[fd]
            self._by_file.remove(fd)
            _close(fd)


class Backoff:
    """How long to wait before the next worker: at first not at all, then from 0.1 s doubling up to 5 s."""

    def __init__(self) -> None:
        self._pause_s = 0.0

    def next_s(self, ready_s: float) -> float:
        """Return the pause behind a worker that was ready for ``ready_s``; after 10 s it begins anew."""
        pause_s = 0.0 if ready_s >= 10 else self._pause_s
        self._pause_s = min(max(2 * pause_s, 0.1), 5.0)
        return pause_s


class Keeper:
    """Keeps a worker running, and its descriptors open, until it is told to end or the first worker fails to start."""

    def __init__(self, command: list[str], backoff: Backoff) -> None:
        self._command: Final = command
        self._backoff: Final = backoff
        for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 (names are wanted, not paths)
            with contextlib.suppress(OSError):  # the directory itself is closed by now
                os.set_inheritable(fd, fd < _FIRST_FD)
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
                self._worker = self._fork()
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
            _say(f"{what}; the next one starts {f'in {pause_s:g} s' if pause_s else 'now'}")
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
            _close(fd)
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
                _say(f"the store is full with {len(self._store.fds)} descriptors: {name!r} is not kept")
        return []

    def _fork(self) -> int:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            return os.fork() or self._become_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _become_worker(self) -> NoReturn:
        try:
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            environ = self._environ()
            self._lay_out()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(self._command[0], self._command, environ)  # noqa: S606 (the command is the caller's)
        except OSError as error:
            _say(f"cannot run {self._command[0]}: {error.strerror}")
        finally:
            os._exit(127)

    def _environ(self) -> dict[str, str]:
        environ = {key: value for key, value in os.environ.items() if key not in _LISTEN}
        environ |= {"NOTIFY_SOCKET": f"@{self._address}", "FDSTORE": str(self._store.capacity)}
        environ |= {"VBALLOOND_KEEPER_PID": str(os.getppid())}
        if self._store.fds:
            listen = (os.getpid(), len(self._store.fds), ":".join(self._store.names))
            environ |= dict(zip(_LISTEN, map(str, listen), strict=True))
        return environ

    def _lay_out(self) -> None:
        """Put the descriptors at the numbers where a worker looks for them, first out of each other's way."""
        fds = self._store.fds
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD + len(fds)) for fd in fds]
        for fd, moved_fd in enumerate(moved, _FIRST_FD):
            os.dup2(moved_fd, fd)


def _compare(fd_a: int, fd_b: int) -> int:
    """Order two descriptors by their open files; those that cannot be compared are not equal."""
    return {0: 0, 1: -1}.get(_syscall(_KCMP, os.getpid(), os.getpid(), 0, fd_a, fd_b), 1)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)


def _say(text: str) -> None:
    if sys.stderr is None:  # then 2 is a descriptor of another kind
        return
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 0)[1]:  # a pipe that nobody reads must not hold the keeper up
            os.write(2, f"vballoond keeper: {text}\n".encode())


def main() -> int:
    """Run the keeper for the command behind ``--``; return the exit status."""
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        _say("usage: python -m vballoond.keeper -- COMMAND...")
        return 2
    return Keeper(sys.argv[2:], Backoff()).run()


if __name__ == "__main__":
    sys.exit(main())
