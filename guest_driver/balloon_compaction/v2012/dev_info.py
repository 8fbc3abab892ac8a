"""struct balloon_dev_info of 2012: a balloon device's pages, in memory that the driver allocates and frees.

Rules of this file:

* Whoever frees it passes what points to it, and the pointer is None then.
* A pointer that was kept elsewhere is of no use either: whatever is done with a freed device info raises at once.
"""

from typing import TYPE_CHECKING, Any, Final, Protocol

from ...errors import KernelBugError
from ...mm.mem_map import MemMap
from ..preempt import Preemptible
from ..spinlock import SpinLock

if TYPE_CHECKING:
    from .address_space import AddressSpace


class BalloonDevInfo(Preemptible):
    """A balloon device's pages.

    Args:
        mm: Has its list.
        balloon_device: The driver's, which the interface only keeps.
    """

    def __init__(self, mm: MemMap, balloon_device: object) -> None:
        self.balloon_device: Final = balloon_device
        self.mapping: AddressSpace | None = None
        self.isolated_pages = 0
        self.list_number: Final = mm.register(self)
        self.pages: Final = mm.mapping_list(self.list_number)
        """The list's head."""
        self.pages_lock: Final = SpinLock(mm.lockdep, ("pages_lock", self.list_number))
        self.held = 0
        """Pages enqueued less pages dequeued. Linux leaves this to the driver."""


class DevInfoContainer(Protocol):
    """What of a driver's points to its device info."""

    b_dev_info: BalloonDevInfo | None


class _FreedDevInfo(BalloonDevInfo):
    """What a device info is after kfree()."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise KernelBugError(f"use after free: {name} of a balloon_dev_info")

    def __setattr__(self, name: str, value: object) -> None:
        raise KernelBugError(f"use after free: {name} of a balloon_dev_info")


def kfree_devinfo(mm: MemMap, container: DevInfoContainer) -> None:
    """Free a container's device info, and have it point to none.

    Raises:
        KernelBugError: It points to none, or pages are on its list.
    """
    bdi = container.b_dev_info
    if bdi is None:
        raise KernelBugError("a balloon_dev_info is freed twice")
    container.b_dev_info = None
    mm.unregister(bdi.list_number)
    bdi.__class__ = _FreedDevInfo
