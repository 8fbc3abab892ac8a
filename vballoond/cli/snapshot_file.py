"""A file to which whole lines are added, whatever happens meanwhile.

Rules of this file:

* A line that could not be written as a whole, since the disk is full or the process was killed, is taken back: at once,
  or when the file is opened next.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final, Self

_PIECE: Final = 1 << 16


class SnapshotFile:
    """An open file, at its end.

    Args:
        path: Where it is; it is made if there is none.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file: Final = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._can_be_cut: Final = stat.S_ISREG(os.fstat(self._file).st_mode)
        if self._can_be_cut and (torn := self._torn_bytes()):
            os.ftruncate(self._file, os.fstat(self._file).st_size - torn)
            print(f"vballoond: the last line of {path} was cut off, and is removed", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def add(self, line: str) -> None:
        """Add a line. On failure, and where somebody presses Ctrl-C, the file has nothing of it.

        Raises:
            OSError: It cannot be written.
        """
        rest = memoryview(f"{line}\n".encode())
        before = os.fstat(self._file).st_size
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BaseException:
            if self._can_be_cut:
                os.ftruncate(self._file, before)
            raise

    def _torn_bytes(self) -> int:
        """Return how much stands behind the end of the last whole line."""
        size = os.fstat(self._file).st_size
        at = size
        while at > 0:
            length = min(_PIECE, at)
            piece = os.pread(self._file, length, at - length)
            if (newline := piece.rfind(b"\n")) >= 0:
                return size - (at - length + newline + 1)
            at -= length
        return size
