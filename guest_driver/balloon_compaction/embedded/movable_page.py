"""The core's half of moving pages that have operations of their own: mm/migrate.c, Linux 6.1.

Rules of this file:

* A page is isolated under its lock, once: PG_isolated is the core's, and no owner touches it.
* Whoever isolated it has a reference, and lets go of it when the page was put back; after a migration the core does.
"""

from typing import Final, Protocol

from ...kernel import Thread
from ...mm.lockdep import LockClass
from ...mm.mem_map import MemMap
from ...mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode, MigrateResult
from ...mm.page_flags import PageFlag
from ..preempt import Preemptible, Step


class MovablePageOwner(Protocol):
    """struct movable_operations. The page is locked in each."""

    def isolate_page(self, page: int) -> bool:
        """Take a page off the owner's list."""

    def putback_page(self, page: int) -> None:
        """Put it on again."""

    def migrate_page(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have ``newpage``, locked too, stand for ``page``."""


class MovablePages:
    """The pages of an owner as compaction and migration see them: its :class:`MovableOperations`.

    Args:
        mm: The pages.
        owner: Whose they are.
    """

    def __init__(self, mm: MemMap, owner: MovablePageOwner) -> None:
        self.device: Preemptible = Preemptible()
        """Who is preempted between the steps."""
        self._mm: Final = mm
        self._owner: Final = owner

    def movable(self, page: int) -> bool:
        """Say without a lock whether a page is worth a try."""
        return self._mm.flags[page] & (PageFlag.MOVABLE | PageFlag.ISOLATED) == PageFlag.MOVABLE

    def isolate(self, page: int) -> bool:
        """isolate_movable_page(): take a page from its owner and keep a reference; False if that cannot be.

        Where it returns False nothing is changed, but a page that its owner releases meanwhile may be freed in here.
        """
        mm = self._mm
        self.device.preempted(Step.ISOLATE)
        if not mm.get_page_unless_zero(page):
            return False
        self.device.preempted(Step.ISOLATE_REFERENCED)
        if mm.flags[page] & PageFlag.MOVABLE and mm.trylock_page(page):
            self.device.preempted(Step.ISOLATE_LOCKED)
            isolated = self._isolate_locked(page)
            mm.unlock_page(page)
            if isolated:
                return True
        self.device.preempted(Step.ISOLATE_REFUSED)
        mm.put_page(page)
        return False

    def _isolate_locked(self, page: int) -> bool:
        if not self.movable(page):
            return False
        self.device.preempted(Step.ISOLATE_CHECKED)
        if not self._owner.isolate_page(page):
            return False
        self.device.preempted(Step.ISOLATE_TAKEN)
        self._mm.flags[page] |= PageFlag.ISOLATED
        return True

    def putback(self, page: int) -> Thread:
        """putback_movable_page(): give an isolated page back, or up if it is not the owner's any more."""
        mm = self._mm
        yield from mm.lock_page(page)
        if mm.flags[page] & PageFlag.MOVABLE:
            self.device.preempted(Step.PUTBACK_LOCKED)
            self._owner.putback_page(page)
            self.device.preempted(Step.PUTBACK_LISTED)
        mm.flags[page] &= ~PageFlag.ISOLATED
        mm.unlock_page(page)
        mm.put_page(page)

    def migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """move_to_new_folio(): have the owner move an isolated page; a page that it has released needs no more moving.

        The caller has locked ``page``; ``newpage`` is locked here if the caller has not.

        Raises:
            KernelBugError: ``page`` is not locked, or another thread has the lock of ``newpage``.
        """
        mm = self._mm
        mm.lockdep.assert_held(LockClass.PAGE_LOCK, page)
        locked_here = mm.trylock_page(newpage)
        mm.lockdep.assert_held(LockClass.PAGE_LOCK, newpage)
        rc = MIGRATEPAGE_SUCCESS
        if mm.flags[page] & PageFlag.MOVABLE:
            rc = yield from self._owner.migrate_page(newpage, page, mode)
        if rc == MIGRATEPAGE_SUCCESS:
            mm.flags[page] &= ~PageFlag.ISOLATED
        if locked_here:
            mm.unlock_page(newpage)
        return rc
