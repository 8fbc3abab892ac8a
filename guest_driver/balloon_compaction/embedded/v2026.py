"""The interface after January 2026: one lock for all balloons, and no page lock at all.

Rules of this file:

* Whose page it is changes under balloon_pages_lock only. So isolation, which has the page lock, asks again under it.
* The driver only tells the host. What a migration changes in the guest is changed here, after the host was told.
* The guest of the model has one zone, so no migration moves memory from one zone's account to another's.
"""

from errno import EAGAIN, ENOENT
from typing import final

from ...mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode, MigrateResult
from ...mm.vm_events import VmEvent
from ..page_list import isolate_from_list
from ..spinlock import SpinLock
from .balloon import EmbeddedBalloon
from .dev_info import BalloonDevInfo


@final
class Balloon2026(EmbeddedBalloon):
    """include/linux/balloon.h and mm/balloon.c."""

    def make_lock(self, number: int) -> SpinLock:
        """All devices have the same lock."""
        del number
        return SpinLock(self.mm.lockdep, "balloon_pages_lock")

    def isolate_page(self, page: int) -> bool:
        """Take a page off the list; False if it has been deflated meanwhile."""
        with SpinLock(self.mm.lockdep, "balloon_pages_lock"):
            bdi = self.balloon_page_device(page)
            if bdi is not None:
                isolate_from_list(self.mm, bdi, page)
        return bdi is not None

    def migrate_page(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have the driver tell the host, then have ``newpage`` be in the balloon instead of ``page``.

        Returns:
            0 also where the driver says -ENOENT: the old page is deflated, and the new one was not inflated and stays
            the core's. Any other error: the page is isolated still. -EAGAIN, with a warning, for no balloon page.
        """
        bdi = self.balloon_page_device(page)
        if bdi is None:
            self.mm.warn(f"page {page} is migrated as a balloon's, which it is not")
            return -EAGAIN
        rc = yield from bdi.migratepage(bdi, newpage, page, mode)
        if rc < 0 and rc != -ENOENT:
            return rc
        with bdi.pages_lock:
            if rc == -ENOENT:
                self._deflated(bdi)
            else:
                self._moved(bdi, newpage)
            bdi.isolated_pages -= 1
            self.balloon_page_finalize(page)
        self.mm.put_page(page)
        return MIGRATEPAGE_SUCCESS

    def _moved(self, bdi: BalloonDevInfo, newpage: int) -> None:
        self.mm.get_page(newpage)
        self.balloon_page_insert(bdi, newpage)
        self.mm.count_vm_event(VmEvent.BALLOON_MIGRATE)

    def _deflated(self, bdi: BalloonDevInfo) -> None:
        bdi.held -= 1
        self.mm.count_vm_event(VmEvent.BALLOON_DEFLATE)
        self._adjust_managed(bdi, +1)

    def _enqueue_one(self, bdi: BalloonDevInfo, page: int) -> None:
        self.balloon_page_insert(bdi, page)
        self._adjust_managed(bdi, -1)

    def _take_one(self, bdi: BalloonDevInfo) -> int | None:
        if self.mm.list_empty(bdi.pages):
            return None
        page = self.mm.list_first(bdi.pages)
        self.mm.list_del(page)
        self._adjust_managed(bdi, +1)
        self.balloon_page_finalize(page)
        return page

    def _adjust_managed(self, bdi: BalloonDevInfo, pages: int) -> None:
        if bdi.adjust_managed_page_count:
            self.mm.adjust_managed_page_count(pages)
