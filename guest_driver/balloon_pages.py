"""The pages that a balloon driver holds, and where it gets them.

The seam to the balloon compaction interface: the driver asks for nothing more than these two calls.
"""

from typing import Final

from .pages import PageAllocator


class BalloonPages:
    """A balloon's pages, the last enqueued first (list_add puts at the head).

    Args:
        allocator: Where pages come from and go to.
    """

    def __init__(self, allocator: PageAllocator) -> None:
        self._allocator: Final = allocator
        self._pages: Final[list[int]] = []

    def __len__(self) -> int:
        return len(self._pages)

    def alloc(self) -> int | None:
        """Allocate a page for the balloon; None where the guest has none to spare."""
        return self._allocator.alloc_page()

    def enqueue(self, pfn: int) -> None:
        """Put an allocated page into the balloon."""
        self._pages.append(pfn)

    def dequeue(self) -> int | None:
        """Take a page out of the balloon; it is not free yet. None where it holds none."""
        return self._pages.pop() if self._pages else None

    def release(self, pfn: int) -> None:
        """Give a dequeued page back to the guest."""
        self._allocator.free_page(pfn)
