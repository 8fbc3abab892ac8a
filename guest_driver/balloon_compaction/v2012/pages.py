"""A balloon driver's use of the interface of 2012 (v11 5/7 of the series)."""

import os
from errno import EOPNOTSUPP
from typing import Final

from ...errors import KernelBugError
from ...mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MigrateMode, MigrateResult
from ...mm.vm_events import VmEvent
from ..err_ptr import ErrPtr
from ..pages import MigratePage
from .address_space import AddressSpace, AddressSpaceOperations
from .dev_info import BalloonDevInfo
from .interface import BalloonInterface


class BalloonPages2012:
    """A device info and, where balloon pages can be migrated, a mapping.

    Args:
        interface: Either side of the Kconfig option.
        migratepage: The driver's half of a migration.

    Raises:
        OSError: There is no memory for them; nothing is left behind then.
    """

    alloc_under_lock: Final = True
    migrate_success: Final = MIGRATEPAGE_BALLOON_SUCCESS

    def __init__(self, interface: BalloonInterface, migratepage: MigratePage) -> None:
        self.b_dev_info: BalloonDevInfo | None = None
        self._interface: Final = interface
        self._migratepage: Final = migratepage
        bdi = interface.balloon_devinfo_alloc(self)
        if isinstance(bdi, ErrPtr):
            raise _os_error(bdi)
        self.b_dev_info = bdi
        a_ops = AddressSpaceOperations(self._virtballoon_migratepage) if interface.balloon_compaction_check() else None
        mapping = interface.balloon_mapping_alloc(bdi, a_ops)
        if isinstance(mapping, ErrPtr) and mapping.errno != -EOPNOTSUPP:
            interface.balloon_devinfo_free(self)
            raise _os_error(mapping)

    @property
    def isolated_pages(self) -> int:
        """Pages that compaction has taken."""
        return self._bdi.isolated_pages

    def __len__(self) -> int:
        bdi = self._bdi
        return bdi.held - bdi.isolated_pages

    def alloc(self) -> int | None:
        """Allocate a page and put it into the balloon."""
        return self._interface.balloon_page_enqueue(self._bdi)

    def enqueue(self, page: int) -> None:
        """Do nothing: the page is in the balloon."""

    def dequeue(self) -> int | None:
        """Take a page out of the balloon."""
        return self._interface.balloon_page_dequeue(self._bdi)

    def release(self, page: int) -> None:
        """Free a dequeued page, unless somebody looks at it just now and frees it then."""
        self._interface.mm.put_page(page)

    def migrated(self, newpage: int, page: int) -> None:
        """Put ``newpage`` into the balloon; ``page`` is not isolated any more, but the balloon's still."""
        del page
        bdi = self._bdi
        with bdi.pages_lock:
            self._interface.balloon_page_insert(newpage, bdi.mapping, bdi)
            bdi.isolated_pages -= 1
        self._interface.balloon_event_count(VmEvent.COMPACT_BALLOON_MIGRATED)

    def finish_migration(self, page: int) -> None:
        """Have the old page be no balloon page any more; its references are the core's to put."""
        with self._bdi.pages_lock:
            self._interface.balloon_page_delete(page, self._bdi)

    def close(self) -> None:
        """Free the mapping and the device info."""
        bdi = self._bdi
        if bdi.held:
            raise KernelBugError(f"a balloon is freed with {bdi.held} pages in it")
        self._interface.balloon_mapping_free(bdi.mapping)
        self._interface.balloon_devinfo_free(self)

    @property
    def _bdi(self) -> BalloonDevInfo:
        if self.b_dev_info is None:
            raise KernelBugError("use of a balloon that was freed")
        return self.b_dev_info

    def _virtballoon_migratepage(
        self, mapping: AddressSpace, newpage: int, page: int, mode: MigrateMode
    ) -> MigrateResult:
        del mapping
        return self._migratepage(newpage, page, mode)


def _os_error(error: ErrPtr) -> OSError:
    return OSError(-error.errno, os.strerror(-error.errno))
