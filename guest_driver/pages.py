"""Page frames and their allocator, as far as a balloon needs them: order 0, last freed first."""

from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np

PfnArray: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.uint32]]"


class PageCounts(NamedTuple):
    """Frames by what they are used for."""

    total: int
    free: int
    cached: int


class PageAllocator(Protocol):
    """What the driver asks of the guest's page allocator."""

    def alloc_page(self) -> int | None:
        """Return the frame of a free page, which is the caller's from now on; None where there is none."""

    def free_page(self, pfn: int) -> None:
        """Take a page back."""

    @property
    def counts(self) -> PageCounts:
        """How the frames are used now."""


class FreeList:
    """The frames of a guest: the kernel's, those in use, and a list of free ones, the last freed on top.

    Linux, too, hands out what was freed last, so a balloon takes pages that were touched before those that never were.

    Args:
        total_frames: Frames of memory, from 0 on.
        kernel_frames: How many at the bottom are the kernel's and never free.
    """

    def __init__(self, total_frames: int, kernel_frames: int) -> None:
        self.total_frames: Final = total_frames
        self.cached_frames = 0
        # The lowest free frame is on top of the stack.
        self._stack: Final = np.arange(total_frames - 1, -1, -1, dtype=np.uint32)
        self._free = total_frames - kernel_frames

    @property
    def counts(self) -> PageCounts:
        """How the frames are used now."""
        return PageCounts(self.total_frames, self._free, self.cached_frames)

    def alloc_page(self) -> int | None:
        """Take the frame on top."""
        if not self._free:
            return None
        self._free -= 1
        return int(self._stack[self._free])

    def free_page(self, pfn: int) -> None:
        """Put a frame on top."""
        self._stack[self._free] = pfn
        self._free += 1

    def use(self, kept_frames: int, passing_frames: int) -> PfnArray:
        """Use the frames on top: the first ``kept_frames`` of them for page cache, the others for a while only.

        Returns:
            The frames that were used, fewer than asked for where fewer are free.
        """
        taken = min(self._free, kept_frames + passing_frames)
        used = self._stack[self._free - taken : self._free].copy()
        kept = min(taken, kept_frames)
        self._free -= kept
        self.cached_frames += kept
        return used
