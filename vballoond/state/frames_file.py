"""Which frames a balloon holds, in a memory file: a header that is checksummed, and a byte for each frame.

Like the map itself it takes memory only where it was written to.
"""

import os
import zlib
from typing import Final, NamedTuple

import numpy as np
from construct import Int32ul

from protocol.layout import Layout

from ..balloon.frame_map import FrameBytes
from ..errors import StateError
from ..memory.frames import FrameSpace
from .sealed_file import make_sealed, map_sealed
from .versioned import parse_versioned, versioned


class FramesHeader(NamedTuple):
    """Stands before the text that says which frames the bytes are of."""

    length: int
    checksum: int


FRAMES_HEADER: Final = Layout(FramesHeader, length=Int32ul, checksum=Int32ul)
_FRAMES_AT: Final = 1 << 14  # 128 regions take a third


def make_frames_file(space: FrameSpace) -> int:
    """Return the descriptor of a new file, in which no frame of ``space`` is held; the caller closes it."""
    text = versioned({"spans": _spans(space)})
    assert FRAMES_HEADER.size + len(text) <= _FRAMES_AT
    fd = make_sealed("vballoond-frames", _FRAMES_AT + space.frames)
    header = FRAMES_HEADER.pack(FramesHeader(len(text), zlib.crc32(text)))
    map_sealed(fd)[: len(header) + len(text)] = header + text
    return fd


def open_frames_file(fd: int, space: FrameSpace) -> FrameBytes:
    """Return the bytes of the frames, which a :class:`FrameMap` looks at; the descriptor is not needed any more.

    Raises:
        StateError: It is no such file, or of another memory than ``space``.
    """
    memory = map_sealed(fd)
    if len(memory) != _FRAMES_AT + space.frames:
        raise StateError(f"a frame map of {len(memory) - _FRAMES_AT} frames, for a memory of {space.frames}")
    header = FRAMES_HEADER.unpack_from(memory[: FRAMES_HEADER.size], 0)
    text = memory[FRAMES_HEADER.size : min(_FRAMES_AT, FRAMES_HEADER.size + header.length)]
    if zlib.crc32(text) != header.checksum:
        raise StateError("a frame map with a damaged header: its checksum is wrong")
    if parse_versioned(text).get("spans") != _spans(space):
        raise StateError("a frame map of another memory")
    return np.frombuffer(memory, dtype=np.uint8, offset=_FRAMES_AT)


def _spans(space: FrameSpace) -> list[list[int]]:
    return [[span.first, span.count] for span in space.spans]


def written_in(fd: int) -> tuple[range, ...]:
    """Return the parts of a file's frames that were ever written to, as ranges of indices; all others are 0.

    Looking at the others would take memory for them.
    """
    written = []
    end = os.fstat(fd).st_size
    at = _FRAMES_AT
    while at < end:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing any more
            break
        hole = os.lseek(fd, at, os.SEEK_HOLE)
        written.append(range(at - _FRAMES_AT, hole - _FRAMES_AT))
        at = hole
    return tuple(written)
