"""Host pages larger than a frame (hugetlbfs): how many frames of each the balloon holds.

A hole in a part of such a page frees nothing, so it is given back when the last of its frames was inflated, whichever
request that came in. When a frame of it is deflated and touched, the host has to find it whole.
"""

from typing import Final

import numpy as np

from ..memory.frames import FrameRange, FrameSpace, PfnArray, merge


class HostPages:
    """Counts for the pages of a memory; nothing is kept where pages are frames.

    Args:
        space: The memory.
    """

    def __init__(self, space: FrameSpace) -> None:
        self._size: Final = space.host_page_frames
        pages = -(-space.end // self._size) if self._size > 1 else 0
        self._held: Final = np.zeros(pages, dtype=np.int32)

    def count(self, pfns: PfnArray, by: int) -> None:
        """Count frames (distinct) that are held from now on (``by`` 1), or no more (-1)."""
        if self._size > 1:
            np.add.at(self._held, pfns // np.uint32(self._size), np.int32(by))

    def clear(self) -> None:
        """Count nothing as held."""
        self._held[:] = 0

    def whole(self, pfns: PfnArray) -> tuple[FrameRange, ...]:
        """Return the pages of ``pfns`` (ascending) of which every frame is held, as frames."""
        pages = np.unique(pfns // np.uint32(self._size))
        whole = pages[self._held[pages] == self._size].tolist()
        return merge(FrameRange(page * self._size, self._size) for page in whole)
