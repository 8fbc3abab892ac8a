"""How much of each block of a frame map is held, and when that last changed.

Rules of this file:

* A block is :data:`BLOCK_FRAMES` page frame numbers in a row, what Linux names in one request: 1 MiB, so that a picture
  of 1 TiB with a pixel for each block is drawn without a look at the map's bytes.
* 10 bytes a block, of which the kernel gives us only what was ever written: 10 MiB for 1 TiB that is used throughout.
* What changed since a version are the blocks that bear a later one, with what they hold now. So nothing is ever lost,
  and nothing grows however much changes and however seldom anybody looks.
* Versions count up over all maps of the process. So none means two things, in one map or in two.
* A block bears its new version before the map does. Whoever reads, in a thread perhaps, takes the map's version first,
  and then sees that version or something newer, which is among what changed since.
"""

from itertools import count
from typing import Final

import numpy as np

from ..memory.frames import FrameRange, IndexArray, PfnArray

BLOCK_FRAMES: Final = 256
_SHIFT: Final = 8
_GROUP_SHIFT: Final = 12  # blocks are grouped so that a look at what changed skips 4 GiB at a time

_MOST_PARTS: Final = 64  # to look at so many takes as long as to look at the 4 GiB around them

_versions: Final = count(1)


class FrameBlocks:
    """The blocks of a map.

    Args:
        end: The page frame number behind the highest one.
    """

    def __init__(self, end: int) -> None:
        blocks = -(-end >> _SHIFT)
        self.held: Final = np.zeros(blocks, dtype=np.int16)
        """The frames held of each block; written here alone."""
        self._changed_at: Final = np.zeros(blocks, dtype=np.int64)
        self._group_changed_at: Final = np.zeros(-(-blocks >> _GROUP_SHIFT), dtype=np.int64)
        self.begin()

    def begin(self) -> None:
        """Let what was so far be the beginning: nothing can be told of changes before it."""
        self.born = self.version = next(_versions)

    def count(self, pfns: PfnArray, by: int) -> None:
        """Count frames (ascending, distinct) that are held from now on (``by`` 1), or no more (-1)."""
        if not pfns.size:
            return
        version = next(_versions)
        first, last = int(pfns[0]) >> _SHIFT, int(pfns[-1]) >> _SHIFT
        if first == last:  # each page that is migrated
            self._count_in_one(first, by * pfns.size, version)
        elif last - first == 1:  # pages that follow each other
            split = int(pfns.searchsorted(np.uint32(last << _SHIFT)))
            self._count_in_one(first, by * split, version)
            self._count_in_one(last, by * (pfns.size - split), version)
        else:
            self._count_anywhere(pfns, by, version)
        self.version = version

    def _count_in_one(self, block: int, more: int, version: int) -> None:
        self.held[block] += more
        self._changed_at[block] = version
        self._group_changed_at[block >> _GROUP_SHIFT] = version

    def _count_anywhere(self, pfns: PfnArray, by: int, version: int) -> None:
        blocks = (pfns >> np.uint32(_SHIFT)).astype(np.intp)
        np.add.at(self.held, blocks, np.int16(by))
        self._changed_at[blocks] = version
        self._group_changed_at[blocks >> _GROUP_SHIFT] = version

    def clear(self) -> None:
        """Count nothing as held; what was held has changed."""
        version = next(_versions)
        for group in np.flatnonzero(self._group_changed_at).tolist():
            first = group << _GROUP_SHIFT
            blocks = first + np.flatnonzero(self.held[first : first + (1 << _GROUP_SHIFT)])
            if blocks.size:
                self.held[blocks] = 0
                self._changed_at[blocks] = version
                self._group_changed_at[group] = version
        self.version = version

    def held_parts(self, window: FrameRange) -> tuple[FrameRange, ...]:
        """Return the parts of ``window`` outside of which nothing of it is held, ascending: blocks as far as it goes.

        Where that would be many small ones it is a single one.
        """
        first_block = window.first >> _SHIFT
        blocks = first_block + np.flatnonzero(self.held[first_block : -(-window.end >> _SHIFT)])
        if not blocks.size or not window.count:
            return ()
        breaks = np.flatnonzero(np.diff(blocks) > 1)
        if breaks.size >= _MOST_PARTS:
            breaks = breaks[:0]
        firsts, lasts = blocks[np.append(0, breaks + 1)].tolist(), blocks[np.append(breaks, blocks.size - 1)].tolist()
        parts = []
        for first, last in zip(firsts, lasts, strict=True):
            at = max(window.first, first << _SHIFT)
            parts.append(FrameRange(at, min(window.end, (last + 1) << _SHIFT) - at))
        return tuple(parts)

    def changed_since(self, version: int, first: int, end: int) -> IndexArray:
        """Return the blocks that changed after ``version``, ascending, of those with frames of ``first`` to ``end``.

        A block's number is that of its first frame divided by :data:`BLOCK_FRAMES`.
        """
        first_block, end_block = first >> _SHIFT, -(-end >> _SHIFT)
        found = [np.empty(0, dtype=np.int64)]
        for group in np.flatnonzero(self._group_changed_at > version).tolist():
            at = max(first_block, group << _GROUP_SHIFT)
            piece = self._changed_at[at : min(end_block, (group + 1) << _GROUP_SHIFT)] if at < end_block else found[0]
            found.append(at + np.flatnonzero(piece > version))
        return np.concatenate(found)
