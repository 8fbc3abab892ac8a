"""A driver on the in-process transport that does nothing by itself: it notes its interrupts, the test does the rest."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from support.backend_rig import running_service
from support.fake_front_end import MIB, RING_FEATURES, FakeGuest

from protocol.balloon.features import BalloonFeature
from protocol.vhost_user.payloads import MemoryRegionDescription
from protocol.virtio import RingFeature
from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.events.log import EventLog
from vballoond.memory.frames import FrameRange
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.service.served_balloon import Observer
from vballoond.transport.in_process import InProcessDevice

INFLATE, DEFLATE, STATS = range(3)
WITH_STATS: Final = RING_FEATURES | BalloonFeature.STATS_VQ
MEMORY_BYTES: Final = 16 * MIB


class Driver:
    """The driver of a balloon, and its guest of 16 MiB."""

    def __init__(self, service: BalloonService) -> None:
        self.queue_interrupts: list[int] = []
        self.config_interrupts = 0
        self.guest = FakeGuest(regions=[MemoryRegionDescription(0, MEMORY_BYTES, 0, 0)])
        self.region = MappedRegion(RegionPlace(0, MEMORY_BYTES, 0, 0), self.guest.ram.fd)
        self.device = InProcessDevice(service, GuestMemory([self.region]), self)

    def queue_interrupt(self, index: int) -> None:
        self.queue_interrupts.append(index)

    def config_interrupt(self) -> None:
        self.config_interrupts += 1

    def set_up(self, *indices: int, features: int = RING_FEATURES) -> None:
        """Negotiate and set up fresh queues, of the format that was negotiated."""
        self.device.accept_features(features)
        for index in indices:
            queue = self.guest.add_queue(index, packed=bool(features & RingFeature.RING_PACKED))
            self.device.set_up_queue(index, queue.size, *queue.areas)

    def load(self, *indices: int, features: int = RING_FEATURES) -> None:
        """Set up fresh queues and say so."""
        self.set_up(*indices, features=features)
        self.device.driver_ok()

    def request(self, index: int, data: bytes) -> int:
        """Make a buffer with ``data`` available and kick; return its head."""
        head = self.guest.queues[index].add(data)
        self.device.kick(index)
        return head

    def used(self, index: int) -> int | None:
        """Take back the next buffer of a queue, if there is one; return its head."""
        return self.guest.queues[index].ring.get_used()

    def write_actual(self, frames: int) -> None:
        """Say how large the balloon is."""
        self.device.write_config(4, frames.to_bytes(4, "little"))


@asynccontextmanager
async def driven(
    *,
    facts: Observer | None = None,
    offload: Offload | None = None,
    clock: Clock | None = None,
    events: EventLog | None = None,
    moved: Callable[[], None] = lambda: None,
    **settings: object,
) -> AsyncIterator[tuple[BalloonService, Driver]]:
    """An in-process balloon that is served, and its driver, which is not loaded yet."""
    keys = {"name": "demo", "transport": "in-process", "memory": "16MiB", "stats_interval_s": 0, **settings}
    told = {"events": events, "moved": moved}
    async with running_service(BalloonSettings.model_validate(keys), facts, offload, clock, **told) as service:
        driver = Driver(service)
        try:
            yield service, driver
        finally:
            await driver.device.close(driver.region.close)
            driver.guest.close()


def held(service: BalloonService) -> list[tuple[int, int]]:
    """The frames that a balloon holds, as (first, count)."""
    return [(part.first, part.count) for part in service.device.frame_map.ranges(FrameRange(0, 1 << 32))]
