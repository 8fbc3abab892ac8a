"""A balloon driver that costs next to nothing, so that what is measured is the device: requests as Linux sends them."""

import asyncio
from typing import Final

import numpy as np

from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import Ring, make_ring
from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.in_process import InProcessDevice

INFLATE, DEFLATE = 0, 1
REQUEST_FRAMES: Final = 256
FEATURES: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX


class ThinDriver:
    """Follows the target of a balloon: 256 frames a request, one request at a time, ``actual`` after each.

    It gives its frames in ascending order from the middle of memory, and takes them back the other way.
    """

    def __init__(self, service: BalloonService, memory_bytes: int) -> None:
        self.ram: Final = Ram(memory_bytes, "benchmark")
        self._held = 0
        self._region: Final = MappedRegion(RegionPlace(0, memory_bytes, 0, 0), self.ram.fd)
        self._device: Final = InProcessDevice(service, GuestMemory([self._region]), self)
        self._loop: Final = asyncio.get_running_loop()
        self._due = False
        memory = KernelMemory(1 << 20)
        self._buffer: Final = memory.alloc(REQUEST_FRAMES * 4)
        middle = memory_bytes // FRAME_BYTES // 4
        self._frames: Final = np.arange(middle, memory_bytes // FRAME_BYTES, dtype="<u4")
        self._device.accept_features(FEATURES)
        self._rings: Final[list[Ring]] = []
        for index in (INFLATE, DEFLATE):
            ring, areas = make_ring(self.ram, memory, FEATURES, 128)
            self._device.set_up_queue(index, 128, *areas)
            self._rings.append(ring)
        self._device.driver_ok()

    async def close(self) -> None:
        """Let go of the memory."""
        await self._device.close(self._region.close)
        for ring in self._rings:
            ring.close()
        self.ram.close()

    def queue_interrupt(self, index: int) -> None:
        """A request was answered."""
        del index
        self.config_interrupt()

    def config_interrupt(self) -> None:
        """Look what is to be done, when the device is done with what it does."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._due = False
        answered = [ring.get_used() is not None for ring in self._rings]
        if any(answered):
            self._device.write_config(BALLOON_CONFIG.offset_of("actual"), self._held.to_bytes(4, "little"))
        target = BALLOON_CONFIG.unpack(self._device.read_config(0, BALLOON_CONFIG.size)).num_pages
        wanted = min(REQUEST_FRAMES, abs(target - self._held))
        if target > self._held:
            self._send(INFLATE, self._frames[self._held : self._held + wanted])
            self._held += wanted
        elif target < self._held:
            self._held -= wanted
            self._send(DEFLATE, self._frames[self._held : self._held + wanted])

    def _send(self, index: int, frames: "np.ndarray[tuple[int], np.dtype[np.uint32]]") -> None:
        data = frames.tobytes()
        self.ram.write(self._buffer, data)
        ring = self._rings[index]
        ring.add(self._buffer, len(data))
        if ring.should_kick():
            self._device.kick(index)
