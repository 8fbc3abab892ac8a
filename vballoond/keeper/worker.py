"""Starting a worker: the descriptors that are held at the numbers where it looks for them (sd_listen_fds(3)).

All signals are blocked from the fork until the worker has the default dispositions, so that none ends in a copy of the
keeper.
"""

import fcntl
import os
import signal
from typing import Final, NoReturn

from .say import say
from .store import DescriptorStore

_LISTEN: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
FIRST_FD: Final = 3  # SD_LISTEN_FDS_START


def start_worker(command: list[str], store: DescriptorStore, address: str) -> int:
    """Start a worker that finds its keeper at ``address``; return its process id.

    Raises:
        OSError: There is no process to be had.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        return os.fork() or _become_worker(command, store, address)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _become_worker(command: list[str], store: DescriptorStore, address: str) -> NoReturn:
    try:
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        environ = _environ(store, address)
        _lay_out(store.fds)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(command[0], command, environ)  # noqa: S606 (the command is the caller's)
    except OSError as error:
        say(f"cannot run {command[0]}: {error.strerror}")
    finally:
        os._exit(127)


def _environ(store: DescriptorStore, address: str) -> dict[str, str]:
    environ = {key: value for key, value in os.environ.items() if key not in _LISTEN}
    environ |= {"NOTIFY_SOCKET": f"@{address}", "FDSTORE": str(store.capacity)}
    environ |= {"VBALLOOND_KEEPER_PID": str(os.getppid())}
    if store.fds:
        listen = (os.getpid(), len(store.fds), ":".join(store.names))
        environ |= dict(zip(_LISTEN, map(str, listen), strict=True))
    return environ


def _lay_out(fds: list[int]) -> None:
    """Put the descriptors at the numbers where a worker looks for them, first out of each other's way."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD + len(fds)) for fd in fds]
    for fd, moved_fd in enumerate(moved, FIRST_FD):
        os.dup2(moved_fd, fd)
