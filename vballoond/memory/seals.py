"""Seals of memory files: what whoever shares one can no longer do to it (fcntl(2), "File Sealing")."""

import fcntl
from typing import Final

from ..errors import FrontEndError

_WHAT_WOULD_BE_RIGHT: Final = (
    "the daemon would die of that, and require_sealed_memory is set: share a memfd that is sealed against shrinking "
    "(QEMU: memory-backend-memfd with seal=on, its default; user-mode Linux has none)"
)


def check_sealed(fd: int) -> None:
    """Return where the file behind ``fd`` can never become shorter. A seal is not taken off again.

    Raises:
        FrontEndError: It can, or it is of a kind that has no seals.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        raise FrontEndError(f"memory file of a kind without seals, so it can shrink; {_WHAT_WOULD_BE_RIGHT}") from error
    if not seals & fcntl.F_SEAL_SHRINK:
        raise FrontEndError(f"memory file without F_SEAL_SHRINK, so it can shrink; {_WHAT_WOULD_BE_RIGHT}")
