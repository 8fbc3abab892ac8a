"""What the interfaces of 2022 and 2026 have in common.

Rules of this file:

* A balloon page is marked offline, whether it can be migrated or not; only one that can has movable operations.
* The driver allocates without any lock and enqueues later; nothing can be said of a page in between.
* Inflation and deflation are counted where a page is enqueued and dequeued, in both states of the Kconfig option.
* Linux leaves a page's type on it until it is freed. Here it is gone as soon as the page is the balloon's no more: the
  last reference may be put by somebody who knows nothing of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Final

from ...errors import KernelBugError
from ...mm.mem_map import Gfp, MemMap
from ...mm.movable import MigrateMode, MigrateResult
from ...mm.page_flags import PageFlag
from ...mm.vm_events import VmEvent
from ...mm.zone import MappingId
from ..page_list import bug_if_lost, put_back_on_list
from ..preempt import Step
from ..spinlock import SpinLock
from .dev_info import BalloonDevInfo, DeviceMigratePage
from .movable_page import MovablePages

_BALLOON_FLAGS: Final = PageFlag.OFFLINE | PageFlag.MOVABLE


class EmbeddedBalloon(ABC):
    """The interface, for all balloon devices of a guest.

    Args:
        mm: The pages.
        enabled: The Kconfig option: whether balloon pages can be migrated.
    """

    def __init__(self, mm: MemMap, *, enabled: bool) -> None:
        self.mm: Final = mm
        self.enabled: Final = enabled
        self._devices: Final[dict[int, BalloonDevInfo]] = {}

    def balloon_devinfo_init(self, migratepage: DeviceMigratePage) -> BalloonDevInfo:
        """Return a device info with an empty list, of which the driver's callback moves the pages."""
        pages = MovablePages(self.mm, self)
        number = self.mm.register(pages)
        bdi = BalloonDevInfo(self.mm, number, self.make_lock(number), migratepage)
        pages.device = self._devices[number] = bdi
        return bdi

    def balloon_devinfo_exit(self, bdi: BalloonDevInfo) -> None:
        """Give a device's list back to the model; in Linux there is nothing to give.

        Raises:
            KernelBugError: There are pages in the balloon.
        """
        if bdi.held:
            raise KernelBugError(f"a balloon is gone with {bdi.held} pages in it")
        del self._devices[bdi.number]
        self.mm.unregister(bdi.number)

    def balloon_page_device(self, page: int) -> BalloonDevInfo | None:
        """Return the device whose balloon a page is in; None for one that is in none, or cannot be migrated."""
        return self._devices.get(self.mm.mapping[page])

    def balloon_mapping_gfp_mask(self) -> Gfp:
        """Balloon pages stand among those that can be migrated if they can be."""
        return Gfp.HIGHUSER_MOVABLE if self.enabled else Gfp.HIGHUSER

    def balloon_page_alloc(self) -> int | None:
        """Return a page to be enqueued; None where none is to be had."""
        return self.mm.alloc_page(self.balloon_mapping_gfp_mask() | Gfp.NOMEMALLOC | Gfp.NORETRY | Gfp.NOWARN)

    def balloon_page_enqueue(self, bdi: BalloonDevInfo, page: int) -> None:
        """Put an allocated page first on the list."""
        self.balloon_page_list_enqueue(bdi, (page,))

    def balloon_page_list_enqueue(self, bdi: BalloonDevInfo, pages: Iterable[int]) -> int:
        """Put pages on the list, one after the other, and return how many."""
        count = 0
        with bdi.pages_lock:
            for page in pages:
                self._enqueue_one(bdi, page)
                bdi.held += 1
                self.mm.count_vm_event(VmEvent.BALLOON_INFLATE)
                count += 1
        return count

    def balloon_page_list_dequeue(self, bdi: BalloonDevInfo, wanted: int) -> list[int]:
        """Take up to so many pages out of the balloon; the one that was taken last is the first of what is returned."""
        taken: list[int] = []
        bdi.preempted(Step.DEQUEUE)
        with bdi.pages_lock:
            while len(taken) < wanted and (page := self._take_one(bdi)) is not None:
                bdi.held -= 1
                self.mm.count_vm_event(VmEvent.BALLOON_DEFLATE)
                taken.append(page)
        bdi.preempted(Step.DEQUEUE_UNLOCKED)
        return taken[::-1]

    def balloon_page_dequeue(self, bdi: BalloonDevInfo) -> int | None:
        """Take a page out of the balloon; None where none can be had just now.

        Raises:
            KernelBugError: The list is empty and nothing is isolated.
        """
        for page in self.balloon_page_list_dequeue(bdi, 1):
            return page
        bdi.preempted(Step.DEQUEUE_FOUND_NONE)
        with bdi.pages_lock:
            bug_if_lost(self.mm, bdi)
        return None

    def balloon_page_insert(self, bdi: BalloonDevInfo, page: int) -> None:
        """Put a page first on the list and mark it. pages_lock is held."""
        bdi.pages_lock.assert_held()
        self.mm.flags[page] |= PageFlag.OFFLINE
        if self.enabled:
            self.mm.flags[page] |= PageFlag.MOVABLE
            self.mm.mapping[page] = bdi.number
        self.mm.list_add(page, bdi.pages)

    def balloon_page_finalize(self, page: int) -> None:
        """Have a page that left the list be nobody's: nobody can isolate it any more."""
        self.mm.flags[page] &= ~_BALLOON_FLAGS
        self.mm.mapping[page] = MappingId.NONE

    def putback_page(self, page: int) -> None:
        """balloon_page_putback(): put an isolated page first on the list; a warning for one that is no balloon's."""
        bdi = self.balloon_page_device(page)
        if bdi is None:
            self.mm.warn(f"page {page} is put back to a balloon that it is not of")
            return
        with bdi.pages_lock:
            put_back_on_list(self.mm, bdi, page)

    @abstractmethod
    def make_lock(self, number: int) -> SpinLock:
        """Return the pages_lock of a device."""

    @abstractmethod
    def isolate_page(self, page: int) -> bool:
        """balloon_page_isolate(): take a page off the list."""

    @abstractmethod
    def migrate_page(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """balloon_page_migrate(): have the driver move a page."""

    @abstractmethod
    def _enqueue_one(self, bdi: BalloonDevInfo, page: int) -> None:
        """Insert a page. pages_lock is held."""

    @abstractmethod
    def _take_one(self, bdi: BalloonDevInfo) -> int | None:
        """Take the first page that can be taken off the list. pages_lock is held."""
