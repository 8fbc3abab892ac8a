"""A balloon device that answers at once, without an event loop: for guests that live in virtual time.

It is the device of ``balloon/`` on the rings of ``virtqueue/``, as the daemon serves them; what is left out is waiting.
A kick is served before it returns, as by a host with a CPU to spare, and an interrupt is delivered there and then.
"""

from datetime import UTC, datetime
from typing import Final

from guest_driver.guest import Guest
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole, queue_roles
from protocol.virtio import DeviceStatus

from ..balloon.device import BalloonDevice
from ..balloon.effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from ..balloon.facts import ConfigWritten, Fact, MemoryKnown, Negotiated, QueueStarted, QueueStopped, Request, TargetSet
from ..balloon.inflate import MAX_REQUEST_BYTES
from ..memory.guest_memory import GuestMemory
from ..memory.region import MappedRegion, RegionPlace
from ..transport.rings import RingPlace, open_fresh_rings
from ..virtqueue.ring import Ring

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class DirectDevice:
    """The device of one guest. Implements ``guest_driver.device.VirtioDevice``.

    Args:
        guest: Whose memory it shares, and whose driver it interrupts.
        features: What it offers.
        discard: Whether it gives the guest's memory back to the host. A guest that touches none has nothing to give.

    Raises:
        GuestError: From any call of the driver's: it broke a rule of the specification.
    """

    def __init__(self, guest: Guest, features: int, *, discard: bool = False) -> None:
        self.device: Final = BalloonDevice()
        self._guest: Final = guest
        self._offered: Final = features
        self._discard: Final = discard
        place = RegionPlace(guest_address=0, size_bytes=guest.ram.size_bytes, user_address=0, file_offset=0)
        self._region: Final = MappedRegion(place, guest.ram.fd)
        self._memory: Final = GuestMemory([self._region])
        self._features = 0
        self._status = DeviceStatus(0)
        self._places: dict[int, RingPlace] = {}
        self._rings = dict[int, Ring]()
        self._roles: dict[int, QueueRole] = {}
        self._feed(MemoryKnown(self._memory.frame_space))

    def set_target(self, size_bytes: int) -> None:
        """Have the driver work towards a balloon of ``size_bytes``."""
        self._feed(TargetSet(size_bytes // FRAME_BYTES))

    def resident_bytes(self) -> int:
        """Return what the guest's memory takes of the host."""
        return self._memory.resident_bytes()

    # What the driver calls.

    def device_features(self) -> int:
        """Return the feature bits on offer."""
        return self._offered

    def accept_features(self, features: int) -> None:
        """Take the driver's choice of them."""
        self._features = features & self._offered
        self._status |= DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space."""
        return self.device.read_config(offset, length)

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver writes there."""
        self._feed(ConfigWritten(offset, data))

    def set_up_queue(self, index: int, size: int, descriptors: int, driver_area: int, device_area: int) -> None:
        """Remember where a queue lies."""
        self._places[index] = RingPlace(size, descriptors, driver_area, device_area)

    def driver_ok(self) -> None:
        """Serve the queues from now on."""
        self._status |= DeviceStatus.DRIVER_OK
        self._rings = open_fresh_rings(self._places, self._memory, self._features)
        roles = queue_roles(self._features, frozenset(self._places))
        self._roles = {index: roles[index] for index in self._rings}
        self._feed(Negotiated(self._features))
        for index, role in self._roles.items():
            self._feed(QueueStarted(role, fresh=True))
            self.kick(index)

    def kick(self, index: int) -> None:
        """Serve a queue until the driver has made nothing more available."""
        ring = self._rings.get(index)
        while ring is not None:
            chain = ring.pop()
            if chain is not None:
                data = chain.read(self._memory, MAX_REQUEST_BYTES)
                self._feed(Request(self._roles[index], chain.head, data, _EPOCH, chain.writable))
            elif not ring.enable_kicks():
                return

    def reset(self) -> None:
        """Let go of the rings; complete when it returns."""
        for index, ring in self._rings.items():
            self._feed(QueueStopped(self._roles[index]))
            ring.close()
        self._rings, self._places, self._roles = {}, {}, {}
        self._features = 0
        self._status = DeviceStatus(0)

    def status(self) -> DeviceStatus:
        """Return the device status field."""
        return self._status

    def close(self) -> None:
        """Let go of the guest's memory."""
        self.reset()
        self._region.close()

    def _feed(self, fact: Fact) -> None:
        for effect in self.device.handle(fact):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case ReleaseFrames(ranges):
                if self._discard:
                    self._memory.release(ranges)
            case CompleteRequest(role, head):
                self._complete(role, head)
            case ConfigChanged():
                if self._guest.balloon is not None:
                    self._guest.balloon.config_interrupt()

    def _complete(self, role: QueueRole, head: int) -> None:
        for index, ring in self._rings.items():
            if self._roles[index] is role:
                ring.push(head)
                if ring.should_notify() and self._guest.balloon is not None:
                    self._guest.balloon.queue_interrupt(index)
