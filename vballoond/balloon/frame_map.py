"""Which frames of a guest the balloon holds.

One byte for each frame of memory, holes left out: a quarter of a promille of the guest, of which the kernel gives us
only what was ever written: of each block it is known how much is held (``frame_blocks``), and where that is nothing
nobody looks. Reading a window costs by the window, never by the guest.

Reading changes nothing, so it may be done in a thread while the map changes: it then shows the version that stood there
when it began, or of some blocks something newer.
"""

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..memory.frames import FrameRange, FrameSpace, IndexArray, PfnArray, coalesce
from .frame_blocks import FrameBlocks
from .host_pages import HostPages

_PIECE_FRAMES: Final = 1 << 20  # how much of a map is looked at at a time
ABSENT: Final = 2  # in a picture of a window: no frame of the guest


FrameBytes: TypeAlias = npt.NDArray[np.uint8]
"""A byte for each frame of a memory, in the order of its spans: 1 where the balloon holds it, else 0."""


class FrameMap:
    """The frames that the driver inflated and did not deflate since.

    Args:
        space: The frames there are. Others are never held.
        held: Where it is noted which are held, for whoever keeps that; none are where it is left out.
        written: The parts of ``held`` that are not all 0 perhaps, as ranges of its indices; only these are looked at.
            None: all of it.

    Raises:
        ValueError: ``held`` is no map of this memory.
    """

    def __init__(
        self,
        space: FrameSpace | None = None,
        held: FrameBytes | None = None,
        written: Iterable[range] | None = None,
    ) -> None:
        self.space: Final = space or FrameSpace()
        self._held: Final = np.zeros(self.space.frames, dtype=np.uint8) if held is None else held
        self._pages: Final = HostPages(self.space)
        self.blocks: Final = FrameBlocks(self.space.end)
        self.held_frames = 0
        if self._held.size != self.space.frames:
            raise ValueError(f"a map of {self._held.size} frames, for a memory of {self.space.frames}")
        if held is not None:
            self._take_over([range(self.space.frames)] if written is None else written)

    @property
    def version(self) -> int:
        """Grows with each change, and is never that of another map."""
        return self.blocks.version

    @property
    def born(self) -> int:
        """The version at which this map began: it can tell what changed since then."""
        return self.blocks.born

    def _take_over(self, written: Iterable[range]) -> None:
        """Look at what somebody else noted."""
        ranges = list(written)
        for part, index in self._parts(self._everything):
            for piece in ranges:
                first, end = max(piece.start, index), min(piece.stop, index + part.count)
                if first < end:
                    self._take_over_piece(part.first + first - index, first, end)
        self.blocks.begin()

    def _take_over_piece(self, pfn: int, first: int, end: int) -> None:
        held = self._held[first:end]
        if held.max() > 1:
            raise ValueError(f"the map says neither held nor not of frame {pfn + int(held.argmax()):#x}")
        self._count(_pfns(pfn, np.flatnonzero(held)), 1)

    def clear(self) -> None:
        """Hold nothing any more."""
        for part, index in self._held_parts(self._everything):
            self._held[index : index + part.count] = 0
        self._pages.clear()
        self.blocks.clear()
        self.held_frames = 0

    def insert(self, pfns: PfnArray) -> int:
        """Hold ``pfns`` (ascending, distinct, all inside the space); return how many were not held before."""
        return self._set(pfns, 1)

    def remove(self, pfns: PfnArray) -> int:
        """Hold ``pfns`` (ascending, distinct, all inside the space) no more; return how many were held before."""
        return self._set(pfns, 0)

    def _set(self, pfns: PfnArray, value: int) -> int:
        if not pfns.size:
            return 0
        place = self._place(pfns)
        differ = self._held[place] != value
        self._held[place] = value
        return self._count(pfns if differ.all() else pfns[differ], 1 if value else -1)

    def _place(self, pfns: PfnArray) -> "slice | IndexArray":
        """Return where ``pfns`` are in the map: frames in a row are in a row there, over spans that touch too."""
        if int(pfns[-1]) - int(pfns[0]) >= pfns.size:
            return self.space.index_of(pfns)
        at = int(self.space.index_of(pfns[:1])[0])
        return slice(at, at + pfns.size)

    def _count(self, pfns: PfnArray, by: int) -> int:
        """Count frames that are held from now on (``by`` 1) or no more (-1); return how many."""
        self._pages.count(pfns, by)
        self.held_frames += by * pfns.size
        self.blocks.count(pfns, by)
        return pfns.size

    def to_release(self, pfns: PfnArray) -> tuple[FrameRange, ...]:
        """Return what of the host's memory can be given back for ``pfns``, which are held, ascending and distinct.

        The frames themselves, or where the host has larger pages, those of the pages that are held whole by now.
        """
        return coalesce(pfns) if self.space.host_page_frames == 1 else self._pages.whole(pfns)

    def in_space(self, space: FrameSpace, held: FrameBytes | None = None) -> "FrameMap":
        """Return the map of another memory, in which the frames that both have are held as here.

        Args:
            space: The memory.
            held: Where it is noted, all 0 so far.
        """
        if space == self.space and held is None:
            return self
        moved = FrameMap(space, held, written=())
        for piece, index in self._held_parts(self._everything):
            for part, to in space.pieces(piece):
                at = index + part.first - piece.first
                here = np.flatnonzero(self._held[at : at + part.count])
                moved._held[to + here] = 1
                moved._count(_pfns(part.first, here), 1)
        moved.blocks.begin()
        return moved

    @property
    def _everything(self) -> FrameRange:
        return FrameRange(self.space.first, self.space.end - self.space.first)

    def _parts(self, window: FrameRange) -> Iterator[tuple[FrameRange, int]]:
        """Yield ``window`` cut where spans and pieces of the map end, with the index of each part's first frame."""
        for span, index in self.space.pieces(window):
            at = 0
            while at < span.count:
                count = min(_PIECE_FRAMES - (index + at) % _PIECE_FRAMES, span.count - at)
                yield FrameRange(span.first + at, count), index + at
                at += count

    def _held_parts(self, window: FrameRange) -> Iterator[tuple[FrameRange, int]]:
        """Yield the same for the parts of ``window`` outside of which nothing is held."""
        for part, index in self._parts(window):
            for held in self.blocks.held_parts(part):
                yield held, index + held.first - part.first

    def ranges(self, window: FrameRange) -> tuple[FrameRange, ...]:
        """Return the held frames of ``window`` as ascending ranges that do not touch."""
        return tuple(self.each_range(window))

    def each_range(self, window: FrameRange) -> Iterator[FrameRange]:
        """Yield the same, one at a time: a large guest may have millions."""
        last: FrameRange | None = None
        for piece in self._ranges(window):
            if last is not None and last.end == piece.first:
                last = FrameRange(last.first, last.count + piece.count)
                continue
            if last is not None:
                yield last
            last = piece
        if last is not None:
            yield last

    def _ranges(self, window: FrameRange) -> Iterator[FrameRange]:
        """Yield the same, but that ranges touch where one part of the window ends and the next begins."""
        for part, index in self._held_parts(window):
            held = self._held[index : index + part.count]
            edges = np.flatnonzero(np.diff(held, prepend=np.uint8(0), append=np.uint8(0)))
            for start, end in edges.reshape(-1, 2).tolist():
                yield FrameRange(part.first + start, end - start)

    def bitmap(self, window: FrameRange) -> bytes:
        """Return ``window`` packed: bit ``i`` (lowest first) of byte ``j`` is frame ``first + 8 * j + i``."""
        return b"".join(self._bits(piece) for piece in _pieces(window))

    def _bits(self, piece: FrameRange) -> bytes:
        held = self.held_bytes(piece)
        return bytes(-(-piece.count // 8)) if held is None else np.packbits(held, bitorder="little").tobytes()

    def picture(self, window: FrameRange) -> bytes:
        """Return ``window`` with a byte for each frame: 0 the guest's, 1 held, 2 (``ABSENT``) no memory."""
        return b"".join(picture.tobytes() for picture in self._pictures(window))

    def _pictures(self, window: FrameRange) -> "Iterator[np.ndarray[tuple[int], np.dtype[np.uint8]]]":
        for part in _pieces(window):
            picture = np.full(part.count, ABSENT, dtype=np.uint8)
            for piece, _ in self.space.pieces(part):
                picture[piece.first - part.first : piece.end - part.first] = 0
            for piece, index in self._held_parts(part):
                at = piece.first - part.first
                picture[at : at + piece.count] = self._held[index : index + piece.count]
            yield picture

    def held_bytes(self, window: FrameRange) -> "FrameBytes | None":
        """Return ``window`` with a byte for each frame, 1 where it is held; None where that is so of none of it.

        It may be a part of the map itself, which changes, and which nobody else writes to.
        """
        parts = list(self._held_parts(window))
        if not parts:
            return None
        first, index = parts[0]
        if first == window:
            return self._held[index : index + window.count]
        found = np.zeros(window.count, dtype=np.uint8)
        for part, at in parts:
            found[part.first - window.first : part.end - window.first] = self._held[at : at + part.count]
        return found


def _pieces(window: FrameRange) -> Iterator[FrameRange]:
    """Yield ``window`` cut up, as much as is looked at at a time; of a map in bits, each piece is whole bytes."""
    for first in range(window.first, window.end, _PIECE_FRAMES):
        yield FrameRange(first, min(_PIECE_FRAMES, window.end - first))


def _pfns(first: int, offsets: IndexArray) -> PfnArray:
    return (first + offsets).astype(np.uint32)
