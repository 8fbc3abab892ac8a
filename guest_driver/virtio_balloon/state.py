"""What the parts of the driver share: struct virtio_balloon, and how its kernel was configured."""

from dataclasses import dataclass
from typing import Final

from ..balloon_compaction import Generation
from ..device import VirtioDevice
from ..errors import GuestModelError
from ..mm.mem_map import MemMap
from ..ram import Ram

ARRAY_PFNS_MAX: Final = 256
"""VIRTIO_BALLOON_ARRAY_PFNS_MAX: how many frames a request lists at most."""

QUEUE_SIZE: Final = 128


class ProbeError(GuestModelError):
    """The driver does not bind to the device.

    Args:
        errno: Why, as Linux says it.
    """

    def __init__(self, errno: int, reason: str) -> None:
        super().__init__(reason)
        self.errno: Final = errno


@dataclass(frozen=True, slots=True)
class DriverOptions:
    """How the kernel that the driver runs in was configured and started.

    Args:
        interface: The generation of the driver, and of the balloon compaction interface.
        balloon_compaction: CONFIG_BALLOON_COMPACTION.
        page_poisoning: The kernel fills free pages with a pattern.
        init_on_free: The kernel fills free pages with zeros.
        queue_size: Entries of each ring.
    """

    interface: Generation = "2022"
    balloon_compaction: bool = True
    page_poisoning: bool = False
    init_on_free: bool = False
    queue_size: int = QUEUE_SIZE


@dataclass(slots=True)
class BalloonState:
    """What one bound driver knows. The parts have it in common, and each says what it changes."""

    device: Final[VirtioDevice]
    ram: Final[Ram]
    mm: Final[MemMap]
    options: Final[DriverOptions]
    features: int = 0
    """What was negotiated."""
    num_pages: int = 0
    """Pages of 4 KiB that the host was told of, or is just being told of."""
    stop_update: bool = False
    """The driver is about to go: nothing new is begun."""
