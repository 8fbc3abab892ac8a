"""What a driver in this process does to a device until it runs (virtio 1.4 section 3.1.1), whoever serves the queues.

Rules of this file:

* FEATURES_OK is set for a choice that can be honoured, and for no other (2.2.2): nothing in it was not offered, and
  without VERSION_1, which a driver may leave out, nothing is above bit 31, where the legacy interface ends. A driver
  that was refused may choose again.
* What was agreed on, and what was said by DRIVER_OK, stays until a reset.
* DRIVER_OK without FEATURES_OK is refused, as is a ring that cannot be: no queue runs then.
"""

from typing import Final, NamedTuple

from protocol.balloon.queues import QueueRole, queue_roles
from protocol.virtio import DeviceStatus, RingFeature

from ..errors import FrontEndError, GuestError
from ..memory.guest_memory import GuestMemory
from ..virtqueue.ring import Ring
from .rings import RingPlace, open_fresh_rings

_LEGACY_FEATURES: Final = (1 << 32) - 1


class Queue(NamedTuple):
    """A queue that is to run."""

    role: QueueRole
    ring: Ring


class VirtioSetUp:
    """The part of a device that its driver sets up: base of those whose driver is in this process.

    Args:
        offered: The feature bits on offer.
    """

    def __init__(self, offered: int) -> None:
        self._offered: Final = offered
        self._features = 0
        self._status = DeviceStatus(0)
        self._places: Final[dict[int, RingPlace]] = {}

    def device_features(self) -> int:
        """Return the feature bits on offer."""
        return self._offered

    def accept_features(self, features: int) -> None:
        """Take the driver's choice of them: where it can be honoured, the status has FEATURES_OK from now on."""
        self._status |= DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
        if self._status & DeviceStatus.FEATURES_OK or not self._can_honour(features):
            return
        self._features = features
        self._status |= DeviceStatus.FEATURES_OK

    def set_up_queue(self, index: int, size: int, descriptors: int, driver_area: int, device_area: int) -> None:
        """Remember where a queue lies; it is served from DRIVER_OK on."""
        self._places[index] = RingPlace(size, descriptors, driver_area, device_area)

    def status(self) -> DeviceStatus:
        """Return the device status field."""
        return self._status

    def _can_honour(self, features: int) -> bool:
        known = self._offered if features & RingFeature.VERSION_1 else self._offered & _LEGACY_FEATURES
        return not features & ~known

    def _set_driver_ok(self, memory: GuestMemory) -> dict[int, Queue]:
        """Return the queues that run from now on, by their numbers; none where DRIVER_OK had been said.

        Raises:
            GuestError: The driver goes on without FEATURES_OK, or a ring cannot be. Then none is open.
        """
        if self._status & DeviceStatus.DRIVER_OK:
            return {}
        self._status |= DeviceStatus.DRIVER_OK
        if not self._status & DeviceStatus.FEATURES_OK:
            raise GuestError("the driver says DRIVER_OK, though its features were not agreed to (no FEATURES_OK)")
        try:
            rings = open_fresh_rings(self._places, memory, self._features)
        except (FrontEndError, ValueError) as error:
            raise GuestError(str(error)) from error
        roles = queue_roles(self._features, frozenset(self._places))
        return {index: Queue(roles[index], ring) for index, ring in rings.items()}

    def _forget_driver(self) -> None:
        """Be as before any driver came: the end of a reset."""
        self._places.clear()
        self._features = 0
        self._status = DeviceStatus(0)
