"""A whole modelled guest: memory, page frames, kernel threads, and a balloon driver that can be loaded and removed."""

from typing import Final, NamedTuple

import numpy as np

from protocol.balloon.page_frames import FRAME_BYTES

from .balloon_compaction import Generation, configure
from .balloon_compaction.counters import existing_counters
from .device import VirtioDevice
from .kernel import Kernel
from .mm.alloc import take_above
from .mm.buddy import free_boot_memory, free_pages
from .mm.compiled import compiled
from .mm.in_use import take_used
from .mm.mem_map import Gfp, MemMap
from .mm.page_cache import add_file_pages
from .mm.page_flags import Migratetype, PageFlag
from .mm.page_reporting import PageReporting
from .mm.reclaim import balance
from .mm.watermarks import set_recommended_watermarks
from .mm.zone import PAGEBLOCK_ORDER, Array, Zone, ZoneCount, make_zone
from .ram import Ram
from .virtio_balloon import DriverOptions, ProbeError, VirtioBalloon
from .vmstat import vmstat

_KERNEL_SHARE: Final = 50  # a fiftieth of memory is the kernel's own and never free
_MIN_KERNEL_FRAMES: Final = 64
_NOTHING: Final = np.empty(0, dtype=np.int32)


class PageCounts(NamedTuple):
    """Frames by what they are used for."""

    total: int
    free: int
    cached: int


class Guest:
    """A guest that was booted, without its balloon driver.

    Args:
        memory_bytes: How much memory it has, in whole frames.
        name: For people who look at the host's open files.
        interface: The generation of its balloon compaction interface, and of its balloon driver.
        balloon_compaction: CONFIG_BALLOON_COMPACTION.
        page_poisoning: It fills free pages with a pattern.
        init_on_free: It fills free pages with zeros.
        pageblock_order: How it groups pages by mobility: 9 with transparent huge pages, 10 without.
        seed: Of its own chance.

    Raises:
        OSError: The host has not got the memory for what is used at boot.
    """

    def __init__(
        self,
        memory_bytes: int,
        name: str = "guest",
        *,
        interface: Generation = "2022",
        balloon_compaction: bool = True,
        page_poisoning: bool = False,
        init_on_free: bool = False,
        pageblock_order: int = PAGEBLOCK_ORDER,
        seed: int = 1,
    ) -> None:
        self.total_frames: Final = memory_bytes // FRAME_BYTES
        self.options: Final = DriverOptions(interface, balloon_compaction, page_poisoning, init_on_free)
        """What its balloon driver is built and started with."""
        self.ram: Final = Ram(self.total_frames * FRAME_BYTES, name)
        self.kernel: Final = Kernel()
        self.zone: Final = make_zone(self.total_frames, pageblock_order=pageblock_order, seed=seed)
        self._kernel_frames: Final = max(_MIN_KERNEL_FRAMES, self.total_frames // _KERNEL_SHARE)
        free_boot_memory(self.zone, self._kernel_frames, self.total_frames)
        set_recommended_watermarks(self.zone)
        self.mm: Final = MemMap(self.zone, self.kernel)
        self.page_reporting: Final = PageReporting(self.mm)
        self.balloon: VirtioBalloon | None = None
        self.ram.touch(0, self._kernel_frames)

    @property
    def counts(self) -> PageCounts:
        """How the frames are used now; of free ones some are kept back (``watermarks``)."""
        counts = self.mm.counts
        return PageCounts(counts[ZoneCount.FRAMES], counts[ZoneCount.FREE], counts[ZoneCount.FILE])

    def vmstat(self) -> dict[str, int]:
        """Return /proc/vmstat, as far as the model counts."""
        kconfig = configure(self.options.interface, balloon_compaction=self.options.balloon_compaction)
        return vmstat(self.zone, existing_counters(kconfig))

    def compile(self) -> None:
        """Compile what the kernel's threads call, or load it, so that none of them has to wait for that later.

        May take half a minute, once on each machine. The guest is as before.
        """
        page = self.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        if page is not None:
            self.mm.put_page(page)
        take_above(self.zone, 0, int(Migratetype.MOVABLE), self.total_frames)
        balance(self.zone)
        self.page_reporting.compile()

    def use_memory(self, kept_frames: int, passing_frames: int) -> None:
        """Touch memory as programs do: ``kept_frames`` stay in use, as page cache, ``passing_frames`` are freed again.

        Fewer are, where that would leave less than the low watermark: nothing is reclaimed for it. May take a tenth of
        a second for each GiB, which is the host finding it.

        Raises:
            OSError: The host has not got it.
        """
        self._keep(min(kept_frames, self._frames_to_spare))
        passing = np.zeros(min(passing_frames, self._frames_to_spare), dtype=np.int32)
        _take(self.zone, passing)
        self.touch(passing)
        _free_last_first(self.zone, passing)

    @property
    def _frames_to_spare(self) -> int:
        return max(0, self.mm.counts[ZoneCount.FREE] - self.mm.counts[ZoneCount.WMARK_LOW])

    def _keep(self, frames: int) -> None:
        counts = self.mm.counts
        wanted, counts[ZoneCount.USED_WANTED] = counts[ZoneCount.USED_WANTED], 1
        while frames:
            frames -= add_file_pages(self.zone, min(frames, len(self.zone.used)))
            self.touch(take_used(self.zone))
        counts[ZoneCount.USED_WANTED] = wanted

    def take_used(self) -> Array:
        """Return the frames that came into use since the last call, and are in use still.

        They are noted where ``ZoneCount.USED_WANTED`` says so. Frames that the balloon has taken since are left out:
        the host must not be asked for them.
        """
        if not self.mm.counts[ZoneCount.USED]:
            return _NOTHING
        used = take_used(self.zone)
        used = used[self.zone.refcount[np.where(used < 0, ~used, used)] > 0]
        small, large = used[used >= 0], ~used[used < 0]
        small = small[self.zone.flags[small] & PageFlag.OFFLINE == 0]
        pageblock = np.arange(1 << self.mm.counts[ZoneCount.PAGEBLOCK_ORDER], dtype=np.int32)
        return np.unique(np.concatenate((small, (large[:, None] + pageblock).reshape(-1))))

    def touch(self, frames: Array) -> None:
        """Have the host find memory for frames. May take a tenth of a second for each GiB.

        Raises:
            OSError: The host has not got it.
        """
        ordered = np.sort(frames)
        for run in np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1):
            if run.size:
                self.ram.touch(int(run[0]), int(run.size))

    def load_driver(self, device: VirtioDevice) -> VirtioBalloon:
        """Insmod virtio_balloon: bind its driver to ``device``.

        Raises:
            ProbeError: The driver does not bind; the guest is as before.
        """
        memory_bytes = self._kernel_frames * FRAME_BYTES
        balloon = VirtioBalloon(device, self.ram, self.mm, self.page_reporting, memory_bytes, self.options)
        self.balloon = balloon
        try:
            balloon.probe()
        except ProbeError:
            self.balloon = None
            raise
        return balloon

    def close(self) -> None:
        """Power off. The driver's rings must have been closed with it."""
        if self.balloon is not None:
            self.balloon.close()
        self.ram.close()


@compiled
def _take(zone: Zone, frames: Array) -> None:
    """Allocate pages, one for each entry."""
    for entry in range(len(frames)):
        frames[entry] = take_above(zone, 0, Migratetype.MOVABLE.value, zone.counts[ZoneCount.WMARK_MIN])


@compiled
def _free_last_first(zone: Zone, frames: Array) -> None:
    """Free pages in the order in which they are handed out again: what was touched goes before what never was."""
    for entry in range(len(frames) - 1, -1, -1):
        free_pages(zone, frames[entry], 0)
