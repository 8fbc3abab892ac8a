"""A file to which whole lines are added, whatever happens meanwhile, and its last line.

Rules of this file:

* A line that could not be written as a whole, since the disk is full or the process was killed, is taken back: at once,
  or when the file is opened next.
* Whoever reads may have named anything: what never ends, and what nobody writes into. Neither takes time or memory.
"""

import os
import stat
import sys
from pathlib import Path
from typing import Final, Self

MAX_LINE_BYTES: Final = 20_000_000
"""A snapshot of ten thousand guests has 13 MB, and the API takes little more than this."""
_PIECE: Final = 1 << 16


class TooLongError(ValueError):
    """There is no last line within :data:`MAX_LINE_BYTES`."""


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


def last_line(path: Path) -> bytes:
    """Return the last line that is not blank, whole or cut off; b"" if there is none.

    Raises:
        TooLongError: It is longer than any snapshot, or no file's and far from the beginning.
        OSError: It cannot be read.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        has_end = stat.S_ISREG(status.st_mode)
        if has_end:
            file.seek(max(0, status.st_size - MAX_LINE_BYTES - 1))
        text = file.read(MAX_LINE_BYTES + 1)
    _, newline, line = text.rstrip().rpartition(b"\n")
    if len(text) > MAX_LINE_BYTES and not (has_end and newline):
        most = f"{MAX_LINE_BYTES // 1_000_000} MB"
        raise TooLongError(f"{path} has no last line within {most}, and no snapshot is longer than that")
    return line


def _open_at_once(path: str, flags: int) -> int:
    """Open what may be a FIFO: one that nobody writes into is empty, another is waited for."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return descriptor
