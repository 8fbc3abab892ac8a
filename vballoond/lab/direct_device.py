"""A balloon device that answers at once, without an event loop: for guests that live in virtual time.

It is the device of ``balloon/`` on the rings of ``virtqueue/``, as the daemon serves them; what is left out is waiting.
A kick is served before it returns, as by a host with a CPU to spare, and an interrupt is delivered there and then.
"""

from datetime import UTC, datetime
from typing import Final

from guest_driver.guest import Guest
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..balloon.device import BalloonDevice
from ..balloon.effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from ..balloon.facts import ConfigWritten, Fact, MemoryKnown, Negotiated, QueueStarted, QueueStopped, Request, TargetSet
from ..balloon.inflate import MAX_REQUEST_BYTES
from ..memory.guest_memory import GuestMemory
from ..memory.region import MappedRegion, RegionPlace
from ..transport.virtio_set_up import Queue, VirtioSetUp

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class DirectDevice(VirtioSetUp):
    """The device of one guest. Implements ``guest_driver.device.VirtioDevice``.

    Args:
        guest: Whose memory it shares, and whose driver it interrupts.
        features: What it offers.
        discard: Whether it gives the guest's memory back to the host. A guest that touches none has nothing to give.

    Raises:
        GuestError: From any call of the driver's: it broke a rule of the specification.
    """

    def __init__(self, guest: Guest, features: int, *, discard: bool = False) -> None:
        super().__init__(features)
        self.device: Final = BalloonDevice()
        self._guest: Final = guest
        self._discard: Final = discard
        place = RegionPlace(guest_address=0, size_bytes=guest.ram.size_bytes, user_address=0, file_offset=0)
        self._region: Final = MappedRegion(place, guest.ram.fd)
        self._memory: Final = GuestMemory([self._region])
        self._queues: Final[dict[int, Queue]] = {}
        self._feed(MemoryKnown(self._memory.frame_space))

    def set_target(self, size_bytes: int) -> None:
        """Have the driver work towards a balloon of ``size_bytes``."""
        self._feed(TargetSet(size_bytes // FRAME_BYTES))

    def resident_bytes(self) -> int:
        """Return what the guest's memory takes of the host."""
        return self._memory.resident_bytes()

    # What the driver calls, beside what VirtioSetUp has.

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space."""
        return self.device.read_config(offset, length)

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver writes there."""
        self._feed(ConfigWritten(offset, data))

    def driver_ok(self) -> None:
        """Serve the queues from now on. Said again, it says nothing new."""
        queues = self._set_driver_ok(self._memory)
        self._queues.update(queues)
        self._feed(Negotiated(self._features))
        for index, queue in queues.items():
            self._feed(QueueStarted(queue.role, fresh=True))
            self.kick(index)

    def kick(self, index: int) -> None:
        """Serve a queue until the driver has made nothing more available."""
        queue = self._queues.get(index)
        while queue is not None:
            chain = queue.ring.pop()
            if chain is not None:
                data = chain.read(self._memory, MAX_REQUEST_BYTES)
                self._feed(Request(queue.role, chain.head, data, _EPOCH, chain.writable))
            elif not queue.ring.enable_kicks():
                return

    def reset(self) -> None:
        """Let go of the rings; complete when it returns."""
        for queue in self._queues.values():
            self._feed(QueueStopped(queue.role))
            queue.ring.close()
        self._queues.clear()
        self._forget_driver()

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
        for index, queue in self._queues.items():
            if queue.role is role:
                queue.ring.push(head)
                if queue.ring.should_notify() and self._guest.balloon is not None:
                    self._guest.balloon.queue_interrupt(index)
