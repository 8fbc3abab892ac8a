"""The interface of Linux 6.1: a pages_lock a device, and the page lock around what changes a page's identity."""

from errno import EAGAIN, EINVAL
from typing import final

from ...errors import KernelBugError
from ...mm.lockdep import LockClass
from ...mm.movable import MigrateMode, MigrateResult
from ...mm.vm_events import VmEvent
from ..page_list import first_lockable_page, isolate_from_list
from ..spinlock import SpinLock
from .balloon import EmbeddedBalloon
from .dev_info import BalloonDevInfo


@final
class Balloon2022(EmbeddedBalloon):
    """include/linux/balloon_compaction.h and mm/balloon_compaction.c, 6.1."""

    def make_lock(self, number: int) -> SpinLock:
        """Each device has a lock of its own."""
        return SpinLock(self.mm.lockdep, ("pages_lock", number))

    def isolate_page(self, page: int) -> bool:
        """Take a page off the list; under its lock it cannot have left the balloon.

        Raises:
            KernelBugError: It has.
        """
        self.mm.lockdep.assert_held(LockClass.PAGE_LOCK, page)
        bdi = self.balloon_page_device(page)
        if bdi is None:
            raise KernelBugError(f"page {page} is isolated from a balloon that it is not of")
        with bdi.pages_lock:
            isolate_from_list(self.mm, bdi, page)
        return True

    def migrate_page(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Leave everything to the driver, but what it cannot do: -EINVAL."""
        bdi = self.balloon_page_device(page)
        if mode == MigrateMode.SYNC_NO_COPY:
            return -EINVAL
        if bdi is None:
            return -EAGAIN
        return (yield from bdi.migratepage(bdi, newpage, page, mode))

    def page_migrated(self, bdi: BalloonDevInfo, newpage: int) -> None:
        """What the driver does before it tells the host: ``newpage`` is in the balloon, with a reference of its own."""
        self.mm.get_page(newpage)
        with bdi.pages_lock:
            self.balloon_page_insert(bdi, newpage)
            bdi.isolated_pages -= 1
            self.mm.count_vm_event(VmEvent.BALLOON_MIGRATE)

    def _enqueue_one(self, bdi: BalloonDevInfo, page: int) -> None:
        if not self.mm.trylock_page(page):
            raise KernelBugError(f"page {page}, just allocated, is locked")
        self.balloon_page_insert(bdi, page)
        self.mm.unlock_page(page)

    def _take_one(self, bdi: BalloonDevInfo) -> int | None:
        page = first_lockable_page(self.mm, bdi.pages)
        if page is not None:
            self.mm.list_del(page)
            self.balloon_page_finalize(page)
            self.mm.unlock_page(page)
        return page
