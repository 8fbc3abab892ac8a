"""Memory files that a successor finds as they were left: sealed, so that nobody can resize one under a mapping."""

import fcntl
import mmap
import os
from typing import Final

from ..errors import StateError

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def make_sealed(name: str, size_bytes: int) -> int:
    """Return a new memory file, all zeros, which takes no memory before it is written to; the caller closes it."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def map_sealed(fd: int) -> mmap.mmap:
    """Map all of a file that :func:`make_sealed` made; it is unmapped when nobody looks at it any more.

    Raises:
        StateError: It is another kind of file, or could be resized.
    """
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        if seals & _SEALS != _SEALS:
            raise StateError("a file of kept state that is not sealed against being resized")
        return mmap.mmap(fd, os.fstat(fd).st_size)
    except (OSError, ValueError) as error:
        raise StateError(f"a file of kept state that cannot be mapped: {error}") from error
