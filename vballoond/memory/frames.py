"""Page frame numbers as arrays and ranges, and the frames that a guest's memory has.

A frame is 4 KiB; a page frame number (PFN) is a guest-physical address shifted by 12. Arrays are ``uint32``, never
signed: numpy would take 0xffffffff for index -1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from protocol.balloon.page_frames import PFN_BITS

PfnArray: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint32]]"
IndexArray: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.int64]]"


@dataclass(frozen=True, slots=True)
class FrameRange:
    """``count`` frames from PFN ``first`` on."""

    first: int
    count: int

    @property
    def end(self) -> int:
        """The first PFN behind the range."""
        return self.first + self.count


def sorted_unique(pfns: PfnArray) -> PfnArray:
    """Return ``pfns`` in ascending order, each once."""
    if pfns.size < 2:  # a page that is migrated comes alone, and there may be hundreds of thousands
        return pfns
    ordered = np.sort(pfns)
    first_of_its_kind = np.empty(ordered.size, dtype=bool)
    first_of_its_kind[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first_of_its_kind[1:])
    return ordered if first_of_its_kind.all() else ordered[first_of_its_kind]


def coalesce(ordered: PfnArray) -> tuple[FrameRange, ...]:
    """Join ascending, distinct PFNs into the fewest ranges."""
    if ordered.size < 2:
        return tuple(FrameRange(first, 1) for first in ordered.tolist())
    breaks = np.flatnonzero(np.diff(ordered) != 1)
    firsts = ordered[np.concatenate(([0], breaks + 1))].tolist()
    lasts = ordered[np.concatenate((breaks, [ordered.size - 1]))].tolist()
    return tuple(FrameRange(first, last - first + 1) for first, last in zip(firsts, lasts, strict=True))


def merge(ranges: Iterable[FrameRange]) -> tuple[FrameRange, ...]:
    """Join ascending ranges that touch."""
    merged: list[FrameRange] = []
    for piece in ranges:
        if merged and merged[-1].end == piece.first:
            merged[-1] = FrameRange(merged[-1].first, merged[-1].count + piece.count)
        else:
            merged.append(piece)
    return tuple(merged)


@dataclass(frozen=True)
class FrameSpace:
    """The frames that a guest's memory has: ascending, disjoint spans with holes between them.

    Each frame has an index, counted over the spans, so that a map of the whole guest is one array without the holes.
    """

    spans: tuple[FrameRange, ...] = ()
    host_page_frames: int = 1
    """Frames in a page of the host's: more than one where the memory is of hugetlbfs. Such a page is given back whole
    or not at all; it begins at a multiple of its size."""

    def __post_init__(self) -> None:
        for before, after in pairwise(self.spans):
            if before.end > after.first:
                raise ValueError(f"spans {before} and {after} overlap or are out of order")
        if self.end > 1 << PFN_BITS:
            raise ValueError(f"a span ends at frame {self.end:#x}, which no page frame number of {PFN_BITS} bits names")

    @cached_property
    def frames(self) -> int:
        """How many frames there are in all."""
        return sum(span.count for span in self.spans)

    @property
    def first(self) -> int:
        """The lowest PFN; 0 where there is no memory."""
        return self.spans[0].first if self.spans else 0

    @property
    def end(self) -> int:
        """The PFN behind the highest one; 0 where there is no memory."""
        return self.spans[-1].end if self.spans else 0

    @cached_property
    def _firsts(self) -> IndexArray:
        return np.array([span.first for span in self.spans], dtype=np.int64)

    @cached_property
    def _counts(self) -> IndexArray:
        return np.array([span.count for span in self.spans], dtype=np.int64)

    @cached_property
    def _bases(self) -> IndexArray:
        return np.cumsum(self._counts) - self._counts

    def inside(self, pfns: PfnArray) -> PfnArray:
        """Return those of ``pfns`` that are frames of this memory, in their order."""
        if not self.spans or not pfns.size:
            return pfns[:0]
        if len(self.spans) == 1:
            valid = pfns - np.uint32(self.spans[0].first) < self.spans[0].count
        else:
            offsets, span = self._offset_in_span(pfns)
            valid = (span >= 0) & (offsets < self._counts[span])
        return pfns if valid.all() else pfns[valid]

    def index_of(self, pfns: PfnArray) -> IndexArray:
        """Return the index of each of ``pfns``, all of which must be frames of this memory."""
        if len(self.spans) == 1:
            return pfns.astype(np.int64) - self.spans[0].first
        offsets, span = self._offset_in_span(pfns)
        return offsets + self._bases[span]

    def whole_host_pages(self, frames: FrameRange) -> FrameRange:
        """Return the whole pages of the host's that lie in ``frames``."""
        size = self.host_page_frames
        first = -(-frames.first // size) * size
        return FrameRange(first, max(0, frames.end // size * size - first))

    def pieces(self, window: FrameRange) -> Iterable[tuple[FrameRange, int]]:
        """Yield what ``window`` has of each span, with the index of its first frame."""
        base = 0
        for span in self.spans:
            first, end = max(span.first, window.first), min(span.end, window.end)
            if first < end:
                yield FrameRange(first, end - first), base + first - span.first
            base += span.count

    def _offset_in_span(self, pfns: PfnArray) -> tuple[IndexArray, IndexArray]:
        span = np.searchsorted(self._firsts, pfns, side="right") - 1
        return pfns.astype(np.int64) - self._firsts[span], span
