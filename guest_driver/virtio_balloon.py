"""The virtio_balloon driver, as Linux 6.1 has it (drivers/virtio/virtio_balloon.c).

Rules of this file, each of which a device can see:

* A request lists at most 256 frames, in the reverse order of their allocation, and the driver waits for each buffer
  before it goes on, MUST_TELL_HOST or not.
* ``actual`` is written after each request, not only at the end (update_balloon_size_func).
* When the guest has no page to spare, the driver sleeps for 200 ms and tries again for as long as the target stands.
* The statsq is primed with one buffer, and kicked, before DRIVER_OK (init_vqs); whenever the device returns it, it
  comes back with newer statistics.
"""

from typing import Final

import numpy as np

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import PAGE_FRAME
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.virtio import DeviceStatus, RingFeature

from .balloon_pages import BalloonPages
from .device import VirtioDevice
from .kernel import Kernel, Thread, WaitQueue, Work, wait_event
from .kernel_memory import KernelMemory
from .pages import PageAllocator
from .ram import Ram
from .rings import Ring, make_ring
from .vmstat import VmStat, statistics_buffer

ARRAY_PFNS_MAX: Final = 256
"""VIRTIO_BALLOON_ARRAY_PFNS_MAX."""

OUT_OF_PUFF_SLEEP_S: Final = 0.2
"""fill_balloon() sleeps this long when an allocation fails, to leave the guest in peace."""

RESET_POLL_S: Final = 0.001
"""vp_reset() looks this often whether the device has been reset."""

QUEUE_SIZE: Final = 128

_U32: Final = 4
_STATISTICS_ROOM_BYTES: Final = 256


class VirtioBalloon:
    """One bound driver, from :meth:`probe` to :meth:`remove`.

    Args:
        kernel: Runs its work items.
        device: The device that it drives.
        ram: The guest's memory.
        memory: Where its rings and buffers come from.
        pages: The guest's pages.
        vmstat: The guest's counters.
    """

    def __init__(
        self, kernel: Kernel, device: VirtioDevice, ram: Ram, memory: KernelMemory, pages: PageAllocator, vmstat: VmStat
    ) -> None:
        self.num_pages = 0
        self._kernel: Final = kernel
        self._device: Final = device
        self._ram: Final = ram
        self._memory: Final = memory
        self._guest_pages: Final = pages
        self._vmstat: Final = vmstat
        self._pages: Final = BalloonPages(pages)
        self._acked: Final = WaitQueue()
        self._unlocked: Final = WaitQueue()
        self._locked = False
        self._stop_update = False
        self._features = 0
        self._rings: dict[QueueRole, Ring] = {}
        self._numbers: dict[QueueRole, int] = {}
        self._pfns: Final = memory.alloc(ARRAY_PFNS_MAX * PAGE_FRAME.size)
        self._stats: Final = memory.alloc(_STATISTICS_ROOM_BYTES)
        self._update_size_work: Final = Work(self._update_balloon_size)
        self._update_stats_work: Final = Work(self._update_balloon_stats)

    @property
    def features(self) -> int:
        """What was negotiated."""
        return self._features

    @property
    def managed_frames(self) -> int:
        """MemTotal: what is ballooned is not the guest's, unless the balloon deflates when memory runs out."""
        ballooned = 0 if self._features & BalloonFeature.DEFLATE_ON_OOM else self.num_pages
        return self._guest_pages.counts.total - ballooned

    def probe(self) -> None:
        """Bind to the device: negotiate, set up the queues, and follow the target that it has by then."""
        self._features = self._device.device_features() & _KNOWN_FEATURES
        self._device.accept_features(self._features)
        for index, role in compact_roles(self._features).items():
            self._set_up_queue(index, role)
        if QueueRole.STATS in self._rings:
            self._send_statistics()
        self._device.driver_ok()
        if self._towards_target():
            self.config_interrupt()

    def remove(self) -> Thread:
        """Unbind: give every page back, say so, and reset the device."""
        self._stop_update = True
        yield from self._kernel.cancel_work(self._update_size_work)
        yield from self._kernel.cancel_work(self._update_stats_work)
        while self.num_pages:
            yield from self._leak_balloon(self.num_pages)
        self._write_actual()
        self._device.reset()
        while self._device.status() != DeviceStatus(0):
            yield RESET_POLL_S
        self.close()

    def close(self) -> None:
        """Release the rings; the device must not use them any more."""
        for ring in self._rings.values():
            ring.close()
        self._rings = {}
        self._numbers = {}

    def queue_interrupt(self, index: int) -> None:
        """The device used buffers of a queue."""
        if self._numbers.get(QueueRole.STATS) == index and not self._stop_update:
            self._kernel.queue_work(self._update_stats_work)
        self._kernel.wake(self._acked)

    def config_interrupt(self) -> None:
        """The device's configuration changed."""
        if not self._stop_update:
            self._kernel.queue_work(self._update_size_work)

    def _set_up_queue(self, index: int, role: QueueRole) -> None:
        ring, areas = make_ring(self._ram, self._memory, self._features, QUEUE_SIZE)
        self._rings[role] = ring
        self._numbers[role] = index
        self._device.set_up_queue(index, QUEUE_SIZE, *areas)

    def _towards_target(self) -> int:
        config = BALLOON_CONFIG.unpack(self._device.read_config(0, BALLOON_CONFIG.size))
        return config.num_pages - self.num_pages

    def _update_balloon_size(self) -> Thread:
        diff = self._towards_target()
        if not diff:
            return
        before = self.num_pages
        yield from self._fill_balloon(diff) if diff > 0 else self._leak_balloon(-diff)
        self._write_actual()
        if diff != self.num_pages - before and not self._stop_update:
            self._kernel.queue_work(self._update_size_work)

    def _fill_balloon(self, wanted: int) -> Thread:
        allocated: list[int] = []
        for _ in range(min(wanted, ARRAY_PFNS_MAX)):
            pfn = self._pages.alloc()
            if pfn is None:
                yield OUT_OF_PUFF_SLEEP_S
                break
            allocated.append(pfn)
        yield from self._lock()
        allocated.reverse()
        for pfn in allocated:
            self._pages.enqueue(pfn)
        self.num_pages += len(allocated)
        self._vmstat.balloon_inflate += len(allocated)
        if allocated:
            yield from self._tell_host(QueueRole.INFLATE, allocated)
        self._unlock()

    def _leak_balloon(self, wanted: int) -> Thread:
        yield from self._lock()
        taken: list[int] = []
        for _ in range(min(wanted, ARRAY_PFNS_MAX)):
            pfn = self._pages.dequeue()
            if pfn is None:
                break
            taken.append(pfn)
        self.num_pages -= len(taken)
        self._vmstat.balloon_deflate += len(taken)
        if taken:
            # The pages are the guest's again only when the host has said so.
            yield from self._tell_host(QueueRole.DEFLATE, taken)
        for pfn in reversed(taken):
            self._pages.release(pfn)
        self._unlock()

    def _tell_host(self, role: QueueRole, pfns: list[int]) -> Thread:
        data = np.array(pfns, dtype=PAGE_FRAME.dtype["pfn"]).tobytes()
        self._ram.write(self._pfns, data)
        ring = self._rings[role]
        ring.add(self._pfns, len(data))
        self._kick(role)
        yield from wait_event(self._acked, lambda: ring.get_used() is not None)

    def _update_balloon_stats(self) -> Thread:
        if self._rings[QueueRole.STATS].get_used() is not None:
            self._send_statistics()
        return
        yield  # a work function is a thread, though this one never sleeps

    def _send_statistics(self) -> None:
        data = statistics_buffer(self._vmstat, self._guest_pages.counts, self.managed_frames)
        self._ram.write(self._stats, data)
        self._rings[QueueRole.STATS].add(self._stats, len(data))
        self._kick(QueueRole.STATS)

    def _kick(self, role: QueueRole) -> None:
        if self._rings[role].should_kick():
            self._device.kick(self._numbers[role])

    def _write_actual(self) -> None:
        self._device.write_config(BALLOON_CONFIG.offset_of("actual"), self.num_pages.to_bytes(_U32, "little"))

    def _lock(self) -> Thread:
        """Take balloon_lock, a mutex."""
        yield from wait_event(self._unlocked, lambda: not self._locked)
        self._locked = True

    def _unlock(self) -> None:
        self._locked = False
        self._kernel.wake(self._unlocked)


_KNOWN_FEATURES: Final = (
    RingFeature.VERSION_1
    | RingFeature.EVENT_IDX
    | RingFeature.RING_PACKED
    | BalloonFeature.MUST_TELL_HOST
    | BalloonFeature.STATS_VQ
    | BalloonFeature.DEFLATE_ON_OOM
)
"""virtballoon_validate() clears PAGE_POISON where the guest neither poisons nor initialises pages, and Linux 6.1 clears
INDIRECT_DESC."""
