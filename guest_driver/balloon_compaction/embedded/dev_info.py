"""struct balloon_dev_info since 2014: a part of the driver's own structure, so nobody frees it too early or twice."""

from typing import TYPE_CHECKING, Final, TypeAlias

from ...mm.mem_map import MemMap
from ..preempt import Preemptible
from ..spinlock import SpinLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...mm.movable import MigrateMode, MigrateResult

DeviceMigratePage: TypeAlias = "Callable[[BalloonDevInfo, int, int, MigrateMode], MigrateResult]"


class BalloonDevInfo(Preemptible):
    """A balloon device's pages.

    Args:
        mm: Has its list.
        number: By which its pages say whose they are.
        pages_lock: 2022: its own. 2026: that of all devices.
        migratepage: The driver's callback.
    """

    def __init__(self, mm: MemMap, number: int, pages_lock: SpinLock, migratepage: DeviceMigratePage) -> None:
        self.isolated_pages = 0
        self.number: Final = number
        self.pages: Final = mm.mapping_list(number)
        """The list's head."""
        self.pages_lock: Final = pages_lock
        self.migratepage: Final = migratepage
        self.adjust_managed_page_count = False
        """2026: the interface accounts for what the guest has in all, not the driver."""
        self.held = 0
        """Pages enqueued less pages dequeued: NR_BALLOON_PAGES, which Linux has since 2026."""
