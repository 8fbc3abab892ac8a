"""A balloon driver's use of the interfaces of 2022 and 2026."""

from typing import Final, Generic, TypeVar

from ...errors import KernelBugError
from ...mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode, MigrateResult
from ..pages import MigratePage
from .balloon import EmbeddedBalloon
from .dev_info import BalloonDevInfo
from .v2022 import Balloon2022
from .v2026 import Balloon2026

_Interface = TypeVar("_Interface", bound=EmbeddedBalloon)


class _EmbeddedPages(Generic[_Interface]):
    """A device info that is the driver's own.

    Args:
        interface: That of a generation.
        migratepage: The driver's half of a migration.
    """

    alloc_under_lock: Final = False
    migrate_success: Final = MIGRATEPAGE_SUCCESS

    def __init__(self, interface: _Interface, migratepage: MigratePage) -> None:
        self.vb_dev_info: Final = interface.balloon_devinfo_init(self._virtballoon_migratepage)
        self._interface: Final = interface
        self._migratepage: Final = migratepage
        self._closed = False

    @property
    def isolated_pages(self) -> int:
        """Pages that compaction has taken."""
        return self._bdi.isolated_pages

    def __len__(self) -> int:
        bdi = self._bdi
        return bdi.held - bdi.isolated_pages

    def alloc(self) -> int | None:
        """Allocate a page, to be enqueued."""
        self._check_open()
        return self._interface.balloon_page_alloc()

    def enqueue(self, page: int) -> None:
        """Put an allocated page into the balloon."""
        self._interface.balloon_page_enqueue(self._bdi, page)

    def dequeue(self) -> int | None:
        """Take a page out of the balloon."""
        return self._interface.balloon_page_dequeue(self._bdi)

    def release(self, page: int) -> None:
        """Free a dequeued page, unless somebody looks at it just now and frees it then."""
        self._interface.mm.put_page(page)

    def close(self) -> None:
        """Give the list back."""
        self._interface.balloon_devinfo_exit(self._bdi)
        self._closed = True

    @property
    def _bdi(self) -> BalloonDevInfo:
        self._check_open()
        return self.vb_dev_info

    def _check_open(self) -> None:
        if self._closed:
            raise KernelBugError("use of a balloon that is gone")

    def _virtballoon_migratepage(
        self, bdi: BalloonDevInfo, newpage: int, page: int, mode: MigrateMode
    ) -> MigrateResult:
        del bdi
        return self._migratepage(newpage, page, mode)


class BalloonPages2022(_EmbeddedPages[Balloon2022]):
    """Of Linux 6.1: the driver's callback does what a migration changes in the guest."""

    def migrated(self, newpage: int, page: int) -> None:
        """Put ``newpage`` into the balloon; ``page`` is not isolated any more, but the balloon's still."""
        del page
        self._interface.page_migrated(self._bdi, newpage)

    def finish_migration(self, page: int) -> None:
        """Have the old page be no balloon page any more, and let go of the balloon's reference to it."""
        self._interface.balloon_page_finalize(page)
        self._interface.mm.put_page(page)


class BalloonPages2026(_EmbeddedPages[Balloon2026]):
    """Of 2026: the interface does it, after the callback.

    The driver accounts for what the guest has in all, as in the other generations; the interface is not asked to.
    """

    def migrated(self, newpage: int, page: int) -> None:
        """Do nothing."""

    def finish_migration(self, page: int) -> None:
        """Do nothing."""
