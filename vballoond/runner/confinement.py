"""What the process of the scripts may not do, so that a script's mistake stays its own.

Rules of this file:

* This is for accidents: a script that forks in a loop, takes all memory, or writes files. It is no sandbox. A policy is
  code of the operator's, with the daemon's rights, as the configuration is.
* The process ends with the daemon, whatever ends that.
"""

import ctypes
import os
import resource
import signal
import sys
from typing import Final

CPU_BETWEEN_S: Final = 2.0
"""Processor time that threads of a script may use between two questions, before the process is ended."""

_MOST_CPU_S: Final = 86_400
_MOST_FILES: Final = 64
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_REFUSED: Final = {
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.exec": "run a program",
    "os.posix_spawn": "run a program",
    "os.spawn": "run a program",
    "os.system": "run a program",
    "subprocess.Popen": "run a program",
    "pty.spawn": "run a program",
    "os.kill": "send a signal",
    "os.killpg": "send a signal",
    "socket.__new__": "open a socket",
    "os.remove": "remove a file",
    "os.rename": "rename a file",
    "os.rmdir": "remove a directory",
    "os.mkdir": "make a directory",
    "os.truncate": "change a file",
    "os.link": "make a link",
    "os.symlink": "make a link",
    "os.chmod": "change a file",
    "os.chown": "change a file",
}
"""By the names of Python's audit events."""

_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def confine(memory_bytes: int, parent: int) -> None:
    """Limit this process, for good. It ends here if ``parent``, which started it, is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_DUMPABLE, 0), (_PR_SET_NO_NEW_PRIVS, 1)):
        libc.prctl(option, int(value), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    for what, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _MOST_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        _lower(what, limit)
    sys.addaudithook(_refuse)


def allow_cpu(seconds: float) -> None:
    """Let this process use so much processor time from now on, and a little more; then it is ended."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds + CPU_BETWEEN_S) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    hard = _MOST_CPU_S if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_CPU, (min(soft, hard), hard))


def _lower(what: int, limit: int) -> None:
    _, hard = resource.getrlimit(what)
    least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(what, (least, least))


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in _REFUSED:
        raise PermissionError(f"a policy may not {_REFUSED[event]}")
    if event == "open" and isinstance(flags := arguments[2], int) and flags & _WRITING:
        raise PermissionError("a policy may not write to a file: what it must remember, it returns as memory")
