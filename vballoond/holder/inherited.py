"""What a holder kept from the process before, taken over as sd_listen_fds(3) says."""

import os
from collections.abc import MutableMapping
from typing import Final

import structlog

_FIRST_FD: Final = 3  # SD_LISTEN_FDS_START
KEEPER_PID: Final = "VBALLOOND_KEEPER_PID"


def inherited(environ: MutableMapping[str, str]) -> dict[str, int]:
    """Take the descriptors that were passed to this process; they are the caller's, and close-on-exec.

    Of several with one name the newest is kept, the others are closed. Nothing is taken, and the reason logged, where
    the variables are malformed. The variables are gone from ``environ`` in any case.
    """
    pid, count, names = (environ.pop(f"LISTEN_{key}", "") for key in ("PID", "FDS", "FDNAMES"))
    if not pid:
        return {}
    try:
        if _number("LISTEN_PID", pid) != os.getpid():
            return {}
        passed = _passed(_number("LISTEN_FDS", count), names.split(":") if names else [])
    except ValueError as error:
        structlog.get_logger().warning("no descriptors are inherited", reason=str(error))
        return {}
    # The keeper hands them over in the order in which they came, systemd the newest first.
    return _newest(passed if KEEPER_PID in environ else passed[::-1])


def _passed(count: int, names: list[str]) -> list[tuple[str, int]]:
    if len(names) != count:
        raise ValueError(f"LISTEN_FDS={count}, but LISTEN_FDNAMES has {len(names)} names")
    passed = list(zip(names, range(_FIRST_FD, _FIRST_FD + count), strict=True))
    for name, fd in passed:
        try:
            os.set_inheritable(fd, False)
        except OSError as error:
            raise ValueError(f"descriptor {fd}, {name!r} of LISTEN_FDS={count}: {error.strerror}") from error
    return passed


def _newest(passed: list[tuple[str, int]]) -> dict[str, int]:
    named: dict[str, int] = {}
    for name, fd in passed:
        if name in named:
            structlog.get_logger().warning("a descriptor was kept twice, the older is closed", name=name)
            os.close(named[name])
        named[name] = fd
    return named


def _number(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{variable}={text!r} is not a number")
    return int(text)
