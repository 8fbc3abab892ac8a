"""What all generations do with a balloon's list of pages. The caller holds its pages_lock."""

from typing import Protocol

from ..errors import KernelBugError
from ..mm.mem_map import MemMap


class ListOwner(Protocol):
    """A device info, of any generation."""

    isolated_pages: int

    @property
    def pages(self) -> int:
        """The list's head."""


def first_lockable_page(mm: MemMap, head: int) -> int | None:
    """Return the first page of a list whose lock was free, and is the caller's now; None where there is none.

    The page lock belongs before pages_lock, but trying for it waits for nobody.
    """
    page = mm.list_first(head)
    while page != head:
        if mm.trylock_page(page):
            return page
        page = mm.list_next(page)
    return None


def bug_if_lost(mm: MemMap, bdi: ListOwner) -> None:
    """Stop where a page was asked for that cannot be: the driver would ask for ever.

    Raises:
        KernelBugError: The list is empty, and nothing is isolated that could come back to it.
    """
    if mm.list_empty(bdi.pages) and not bdi.isolated_pages:
        raise KernelBugError("a page is dequeued from an empty balloon: pages were lost, or the driver miscounts")


def isolate_from_list(mm: MemMap, bdi: ListOwner, page: int) -> None:
    """Take a page off the list for migration."""
    mm.list_del(page)
    bdi.isolated_pages += 1


def put_back_on_list(mm: MemMap, bdi: ListOwner, page: int) -> None:
    """Put an isolated page first on the list: it is the next one that is dequeued."""
    mm.list_add(page, bdi.pages)
    bdi.isolated_pages -= 1
