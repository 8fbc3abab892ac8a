"""The interface of 2012 with CONFIG_BALLOON_COMPACTION: balloon pages are movable by compaction.

Rules of this file:

* ``balloon_page_movable`` takes no lock, so its answer may be old when it arrives: a page that is just being released
  may still look like a balloon's. ``balloon_page_isolate`` takes a reference, then the page lock, and asks again.
* A ballooned page has one reference. One that has more than that and the isolating thread's is isolated already.
* Where isolation loses against a release, the reference that it has taken is the last one, and putting it is the free.
"""

from errno import EAGAIN, ENOMEM
from typing import final

from ...errors import KernelBugError
from ...kernel import Thread
from ...mm.mem_map import Gfp
from ...mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MigrateMode, MigrateResult
from ...mm.page_flags import PageFlag
from ...mm.vm_events import VmEvent
from ...mm.zone import UNLINKED, MappingId, ZoneCount
from ..err_ptr import ErrPtr
from ..page_list import isolate_from_list, put_back_on_list
from ..preempt import Step
from .address_space import (
    AddressSpace,
    AddressSpaceOperations,
    mapping_balloon,
    mapping_set_balloon,
    mapping_set_gfp_mask,
)
from .dev_info import BalloonDevInfo
from .interface import BalloonInterface

_ODD_MAPPING = PageFlag.ANON | PageFlag.PRIVATE
_NEVER_BALLOON = PageFlag.SLAB | PageFlag.SWAP_CACHE | PageFlag.MAPPED


@final
class WithCompaction(BalloonInterface):
    """What stands between ``#ifdef`` and ``#else``."""

    def balloon_mapping_alloc(self, bdi: BalloonDevInfo, a_ops: AddressSpaceOperations | None) -> AddressSpace | ErrPtr:
        """Return a mapping that points to the device info, and have it point back; ErrPtr(-ENOMEM) without memory."""
        if not self._kmalloc():
            return ErrPtr(-ENOMEM)
        mapping = AddressSpace(_Operations(self))
        mapping_set_balloon(mapping)
        mapping_set_gfp_mask(mapping, self.balloon_mapping_gfp_mask())
        mapping.a_ops = a_ops
        mapping.private_data = bdi
        mapping.number = self.mm.register(mapping)
        bdi.mapping = mapping
        return mapping

    def balloon_mapping_free(self, mapping: AddressSpace | ErrPtr | None) -> None:
        """Free a mapping; None is freed as kfree() frees it.

        Raises:
            KernelBugError: It is an error, which nobody looked at.
        """
        if isinstance(mapping, ErrPtr):
            raise KernelBugError(f"kfree() of an error, {mapping.errno}")
        if mapping is not None:
            self.mm.unregister(mapping.number)

    def balloon_page_insert(self, page: int, mapping: AddressSpace | None, bdi: BalloonDevInfo) -> None:
        """Put a page first on the list, then give it the mapping. Both locks are held."""
        self._assert_locked(page, bdi)
        self.mm.list_add(page, bdi.pages)
        self.mm.mapping[page] = MappingId.NONE if mapping is None else mapping.number

    def balloon_page_delete(self, page: int, bdi: BalloonDevInfo) -> None:
        """Take the mapping away, then the page off its list. Both locks are held.

        An isolated page stands on the list of whoever isolated it, or on none where that keeps its pages otherwise.
        """
        self._assert_locked(page, bdi)
        isolated = self.mm.list_next(page) == UNLINKED and self.is_movable_balloon_page(page)
        self.mm.mapping[page] = MappingId.NONE
        if not isolated:
            self.mm.list_del(page)

    def is_movable_balloon_page(self, page: int) -> bool:
        """Say whether a page's mapping is a balloon's; that it stays so is certain under the page lock only."""
        mapping = self.mm.page_mapping(page)
        if isinstance(mapping, AddressSpace):
            return mapping_balloon(mapping)
        if self.known_bugs.follows_odd_mappings and self.mm.mapping[page] >= MappingId.FIRST_REGISTERED:
            raise KernelBugError(f"oops: the mapping of page {page} is no address_space")
        return False

    def balloon_page_movable(self, page: int) -> bool:
        """Say without a lock whether a page is worth a try: not if it uses its mapping in a way of its own."""
        unlike = _NEVER_BALLOON if self.known_bugs.follows_odd_mappings else _NEVER_BALLOON | _ODD_MAPPING
        return not self.mm.flags[page] & unlike and self.is_movable_balloon_page(page)

    def balloon_page_scanned(self, page: int, *, lru_locked: bool) -> bool:
        """Do what compaction's scanner does with a page that is on no LRU list; say whether it was isolated.

        Args:
            page: What it has come to.
            lru_locked: Whether it holds lru_lock, which balloon pages do not need.
        """
        if self.known_bugs.isolation_needs_lru_lock and not lru_locked:
            return False
        return self.balloon_page_movable(page) and self.balloon_page_isolate(page)

    def balloon_page_device(self, page: int) -> BalloonDevInfo | None:
        """Return the device whose balloon a page is in; None where the page has no mapping."""
        mapping = self.mm.page_mapping(page)
        return mapping.private_data if isinstance(mapping, AddressSpace) else None

    def balloon_page_isolate(self, page: int) -> bool:
        """Take a page off its balloon's list and keep a reference to it; False if that may not be.

        Where it returns False nothing is changed, but a page that is released meanwhile may be freed in here.
        """
        bdi = self.balloon_page_device(page)
        _preempted(bdi, Step.ISOLATE)
        if not self.mm.get_page_unless_zero(page):
            return False
        _preempted(bdi, Step.ISOLATE_REFERENCED)
        if self.mm.trylock_page(page):
            _preempted(bdi, Step.ISOLATE_LOCKED)
            isolated = self._isolate_locked(page)
            self.mm.unlock_page(page)
            if isolated:
                return True
        _preempted(bdi, Step.ISOLATE_REFUSED)
        self.mm.put_page(page)
        return False

    def _isolate_locked(self, page: int) -> bool:
        """Isolate if nobody else has, or holds the page for any other reason: then there is a reference too many."""
        bdi = self.balloon_page_device(page)
        if bdi is None or not self.is_movable_balloon_page(page) or self.mm.refcount[page] != 1 + 1:
            return False
        bdi.preempted(Step.ISOLATE_CHECKED)
        with bdi.pages_lock:
            isolate_from_list(self.mm, bdi, page)
        self.balloon_event_count(VmEvent.COMPACT_BALLOON_ISOLATED)
        bdi.preempted(Step.ISOLATE_TAKEN)
        return True

    def balloon_page_putback(self, page: int) -> Thread:
        """Put an isolated page first on its list and let go of the reference; waits for the page lock.

        For a page that is no balloon's (any more) there is a warning; its reference stays, and no count is changed.
        """
        yield from self.mm.lock_page(page)
        bdi = self.balloon_page_device(page)
        if self.known_bugs.puts_leftovers_on_lru:
            self._putback_lru_page(page)
        elif bdi is not None and self.is_movable_balloon_page(page):
            self._putback_locked(bdi, page)
        else:
            self.mm.warn(f"page {page} is put back to a balloon that it is not of")
        self.mm.unlock_page(page)

    def _putback_locked(self, bdi: BalloonDevInfo, page: int) -> None:
        bdi.preempted(Step.PUTBACK_LOCKED)
        with bdi.pages_lock:
            put_back_on_list(self.mm, bdi, page)
        self.balloon_event_count(VmEvent.COMPACT_BALLOON_RETURNED)
        bdi.preempted(Step.PUTBACK_LISTED)
        self.mm.put_page(page)

    def _putback_lru_page(self, page: int) -> None:
        self.mm.list_add(page, self.mm.mapping_list(MappingId.FILE))
        self.mm.flags[page] |= PageFlag.LRU
        self.mm.counts[ZoneCount.FILE] += 1
        self.mm.put_page(page)

    def balloon_page_migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have the driver move an isolated page, which the caller has locked, to ``newpage``, which nobody has.

        Returns:
            What the driver's callback returns; -EAGAIN, with a warning, for a page that is no balloon's. ``newpage`` is
            unlocked then.

        Raises:
            KernelBugError: Somebody has the lock of ``newpage``.
        """
        if not self.mm.trylock_page(newpage):
            raise KernelBugError(f"page {newpage}, to migrate to, is locked")
        rc = -EAGAIN
        mapping = self.mm.page_mapping(page)
        if not self.is_movable_balloon_page(page):
            self.mm.warn(f"page {page} is migrated as a balloon's, which it is not")
        elif isinstance(mapping, AddressSpace) and mapping.a_ops is not None:
            rc = yield from mapping.a_ops.migratepage(mapping, newpage, page, mode)
        if rc == MIGRATEPAGE_BALLOON_SUCCESS and self.known_bugs.new_page_loses_mapping:
            self.mm.mapping[newpage] = MappingId.NONE
        self.mm.unlock_page(newpage)
        return rc

    def balloon_mapping_gfp_mask(self) -> Gfp:
        """Balloon pages stand among those that can be migrated."""
        return Gfp.HIGHUSER_MOVABLE

    def balloon_event_count(self, item: VmEvent) -> None:
        """Count in /proc/vmstat."""
        self.mm.count_vm_event(item)

    def balloon_compaction_check(self) -> bool:
        """Balloon pages can be migrated."""
        return True


class _Operations:
    """The interface by the names that compaction has for it."""

    def __init__(self, interface: WithCompaction) -> None:
        self.movable = interface.balloon_page_movable
        self.isolate = interface.balloon_page_isolate
        self.putback = interface.balloon_page_putback
        self.migrate = interface.balloon_page_migrate


def _preempted(bdi: BalloonDevInfo | None, step: Step) -> None:
    if bdi is not None:
        bdi.preempted(step)
