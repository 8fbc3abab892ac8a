"""The part of the interface of 2012 that does not depend on CONFIG_BALLOON_COMPACTION, and the names of the rest.

Rules of this file:

* A balloon inflates and deflates fully without the option; its pages just cannot be moved.
* Inserting and deleting a page want both locks, the page's and pages_lock, and so no memory barrier.
* A failed allocation changes nothing, and is an error of the caller's kind: None for a page, ErrPtr for an object.
"""

from abc import ABC, abstractmethod
from errno import ENOMEM
from typing import Final

from ...errors import KernelBugError
from ...kernel import Thread
from ...mm.lockdep import LockClass
from ...mm.mem_map import Gfp, MemMap
from ...mm.movable import MigrateMode, MigrateResult
from ...mm.vm_events import VmEvent
from ..err_ptr import ErrPtr
from ..known_bugs import NO_BUGS, KnownBugs
from ..page_list import bug_if_lost, first_lockable_page
from ..preempt import Step
from .address_space import AddressSpace, AddressSpaceOperations
from .dev_info import BalloonDevInfo, DevInfoContainer, kfree_devinfo


class BalloonInterface(ABC):
    """include/linux/balloon_compaction.h and mm/balloon_compaction.c.

    Args:
        mm: The pages.
        known_bugs: Which of them it has.
    """

    def __init__(self, mm: MemMap, known_bugs: KnownBugs = NO_BUGS) -> None:
        self.mm: Final = mm
        self.known_bugs: Final = known_bugs
        self.failing_kmallocs = 0
        """How many of the next objects cannot be allocated, for tests of what happens then."""

    def balloon_devinfo_alloc(self, balloon_dev_descriptor: object) -> BalloonDevInfo | ErrPtr:
        """Return a device info with an empty list and no mapping; ErrPtr(-ENOMEM) where there is no memory."""
        if not self._kmalloc():
            return ErrPtr(-ENOMEM)
        return BalloonDevInfo(self.mm, balloon_dev_descriptor)

    def balloon_devinfo_free(self, container: DevInfoContainer) -> None:
        """Free a container's device info and have the container point to none.

        Raises:
            KernelBugError: It points to none already, or pages are on the list.
        """
        kfree_devinfo(self.mm, container)

    def balloon_page_enqueue(self, bdi: BalloonDevInfo) -> int | None:
        """Allocate a page and put it into the balloon; None, and nothing is changed, where none is to be had.

        Raises:
            KernelBugError: Somebody has the lock of a page that nobody can know of.
        """
        page = self.mm.alloc_page(self.balloon_mapping_gfp_mask() | Gfp.NOMEMALLOC | Gfp.NORETRY)
        if page is None:
            return None
        if not self.mm.trylock_page(page):
            raise KernelBugError(f"page {page}, just allocated, is locked")
        with bdi.pages_lock:
            self.balloon_page_insert(page, bdi.mapping, bdi)
            bdi.held += 1
        self.mm.unlock_page(page)
        return page

    def balloon_page_dequeue(self, bdi: BalloonDevInfo) -> int | None:
        """Take the first page that is not locked out of the balloon; None where all are locked or isolated.

        Raises:
            KernelBugError: The list is empty and nothing is isolated.
        """
        bdi.preempted(Step.DEQUEUE)
        page = self._pick_unsafely(bdi) if self.known_bugs.walks_without_lock else self._pick(bdi)
        if page is None:
            bdi.preempted(Step.DEQUEUE_FOUND_NONE)
            with bdi.pages_lock:
                bug_if_lost(self.mm, bdi)
            return None
        bdi.preempted(Step.DEQUEUE_DELETED)
        self.mm.unlock_page(page)
        bdi.preempted(Step.DEQUEUE_UNLOCKED)
        return page

    def _pick(self, bdi: BalloonDevInfo) -> int | None:
        """Delete a page from the list; it is locked then."""
        with bdi.pages_lock:
            page = first_lockable_page(self.mm, bdi.pages)
            if page is not None:
                self._delete_from(bdi, page)
        return page

    def _pick_unsafely(self, bdi: BalloonDevInfo) -> int | None:
        """The same as it was at first: between a look at the list and the page lock anything may happen."""
        page = self.mm.list_first(bdi.pages)
        while page != bdi.pages:
            if page < 0:
                raise KernelBugError("the list was walked into LIST_POISON")
            following = self.mm.list_next(page)
            bdi.preempted(Step.DEQUEUE_PICKED)
            if self.mm.trylock_page(page):
                with bdi.pages_lock:
                    self._delete_from(bdi, page)
                return page
            page = following
        return None

    def _delete_from(self, bdi: BalloonDevInfo, page: int) -> None:
        self.balloon_page_delete(page, bdi)
        bdi.held -= 1

    def _kmalloc(self) -> bool:
        if self.failing_kmallocs:
            self.failing_kmallocs -= 1
            return False
        return True

    def _assert_locked(self, page: int, bdi: BalloonDevInfo) -> None:
        self.mm.lockdep.assert_held(LockClass.PAGE_LOCK, page)
        bdi.pages_lock.assert_held()

    # What depends on CONFIG_BALLOON_COMPACTION.

    @abstractmethod
    def balloon_mapping_alloc(self, bdi: BalloonDevInfo, a_ops: AddressSpaceOperations | None) -> AddressSpace | ErrPtr:
        """Return the special mapping of a device's pages."""

    @abstractmethod
    def balloon_mapping_free(self, mapping: AddressSpace | ErrPtr | None) -> None:
        """Free it."""

    @abstractmethod
    def balloon_page_insert(self, page: int, mapping: AddressSpace | None, bdi: BalloonDevInfo) -> None:
        """Put a page first on a device's list and give it the mapping."""

    @abstractmethod
    def balloon_page_delete(self, page: int, bdi: BalloonDevInfo) -> None:
        """Take the mapping away from a page and the page off its list."""

    @abstractmethod
    def balloon_page_movable(self, page: int) -> bool:
        """Say without a lock whether a page may be a balloon's."""

    @abstractmethod
    def balloon_page_isolate(self, page: int) -> bool:
        """Take a page from its balloon, to migrate it."""

    @abstractmethod
    def balloon_page_putback(self, page: int) -> Thread:
        """Give it back."""

    @abstractmethod
    def balloon_page_migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have the driver move it."""

    @abstractmethod
    def balloon_mapping_gfp_mask(self) -> Gfp:
        """Return how balloon pages are allocated."""

    @abstractmethod
    def balloon_event_count(self, item: VmEvent) -> None:
        """Count something that happened to a balloon page."""

    @abstractmethod
    def balloon_compaction_check(self) -> bool:
        """Say whether balloon pages can be migrated at all."""
