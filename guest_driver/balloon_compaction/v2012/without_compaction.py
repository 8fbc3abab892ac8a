"""The interface of 2012 without CONFIG_BALLOON_COMPACTION: stubs, and a balloon whose pages stay where they are.

Rules of this file:

* Pages are on the balloon's list and nothing else: no mapping says whose they are, and nobody can isolate them.
* They are allocated as unmovable. A page that is allocated among movable ones and cannot be moved is the worst of all.
"""

from errno import EOPNOTSUPP
from typing import final

from ...kernel import Thread
from ...mm.mem_map import Gfp
from ...mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode, MigrateResult
from ...mm.vm_events import VmEvent
from ..err_ptr import ErrPtr
from .address_space import AddressSpace, AddressSpaceOperations
from .dev_info import BalloonDevInfo
from .interface import BalloonInterface


@final
class WithoutCompaction(BalloonInterface):
    """What stands between ``#else`` and ``#endif``."""

    def balloon_mapping_alloc(self, bdi: BalloonDevInfo, a_ops: AddressSpaceOperations | None) -> AddressSpace | ErrPtr:
        """Say that there is no such thing, which is no failure: ErrPtr(-EOPNOTSUPP)."""
        del bdi, a_ops
        return ErrPtr(-EOPNOTSUPP)

    def balloon_mapping_free(self, mapping: AddressSpace | ErrPtr | None) -> None:
        """Do nothing, whatever is passed."""

    def balloon_page_insert(self, page: int, mapping: AddressSpace | None, bdi: BalloonDevInfo) -> None:
        """Put a page first on the list; its mapping is left alone."""
        del mapping
        self._assert_locked(page, bdi)
        self.mm.list_add(page, bdi.pages)

    def balloon_page_delete(self, page: int, bdi: BalloonDevInfo) -> None:
        """Take a page off the list; its mapping is left alone."""
        self._assert_locked(page, bdi)
        self.mm.list_del(page)

    def balloon_page_movable(self, page: int) -> bool:
        """No page is movable."""
        del page
        return False

    def balloon_page_isolate(self, page: int) -> bool:
        """No page can be isolated."""
        del page
        return False

    def balloon_page_putback(self, page: int) -> Thread:
        """Do nothing."""
        del page
        yield from ()

    def balloon_page_migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Do nothing and say 0, which would be success: nobody comes here, since no page is movable."""
        del newpage, page, mode
        yield from ()
        return MIGRATEPAGE_SUCCESS

    def balloon_mapping_gfp_mask(self) -> Gfp:
        """Balloon pages stand among those that cannot be migrated."""
        return Gfp.HIGHUSER

    def balloon_event_count(self, item: VmEvent) -> None:
        """Count nothing: the counters are not there."""

    def balloon_compaction_check(self) -> bool:
        """Balloon pages cannot be migrated."""
        return False
