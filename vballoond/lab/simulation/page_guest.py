"""One guest of a simulated host: modelled page by page, with its driver on real rings, its programs, and its faults.

There is no coarser model: a guest costs this machine 16 bytes a frame, some ten microseconds for each page that its
balloon takes or gives, and some ten for each thing that its programs do, which is ten times a second for each load.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from guest_driver.guest import Guest
from guest_driver.kernel import Thread
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ORDERS, PAGEBLOCK_ORDER, ZoneCount
from guest_driver.virtual_time import run_until
from guest_driver.workload.machine import Machine
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature

from ...policy import Fragmentation, GuestView
from .guest_reports import GuestReports
from .host_scenario import Fault, GuestTable
from .touched_device import Frames, TouchedDevice

_FEATURES: Final = (
    RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ
)
_MIGRATE_FAIL_PPM: Final = 50_000
"""Of the pages that compaction tries to move, how many are pinned or under I/O: as in the highalloc experiment."""
_BOOT_S: Final = 2.0
"""So long a booting guest holds what it frees then."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest touches before its programs run: half of it stays, as page cache."""

    share: float

    def run(self, machine: Machine) -> Thread:
        """Run, and end."""
        mib = self.share * machine.memory_frames * FRAME_BYTES / (1 << 20)
        machine.read_files(mib=mib)
        passing = machine.process()
        yield from passing.fault_in(machine.frames(mib=mib))
        yield _BOOT_S
        passing.kill()


class PageGuest:
    """A guest from its start to its end.

    Args:
        name: Its own.
        table: What it is.
        seed: Of the run; with the name it is the seed of all chance in the guest.
        now_s: When it starts.

    Raises:
        OSError: This machine has not got the memory for its model.
    """

    def __init__(self, name: str, table: GuestTable, seed: int, now_s: float) -> None:
        own_seed = zlib.crc32(f"{seed}/{name}".encode())
        self.name: Final = name
        self.table: Final = table
        self.started_s: Final = now_s
        self.target_bytes = 0
        """What the host wants; a driver that is stuck may not know it."""
        self._guest: Final = Guest(
            table.memory, name, interface="2026", balloon_compaction=table.balloon_compaction, seed=own_seed
        )
        self._guest.zone.counts[ZoneCount.MIGRATE_FAIL_PPM] = _MIGRATE_FAIL_PPM
        features = _FEATURES | (BalloonFeature.DEFLATE_ON_OOM if table.deflate_on_oom else 0)
        self._device: Final = TouchedDevice(self._guest, features)
        self._driver: Final = self._guest.load_driver(self._device)
        self._machine: Final = Machine(self._guest.mm, own_seed)
        self._reports: Final = GuestReports(table.stats_interval_s)
        self._ran_s = 0.0
        self._migrated = 0
        self._looked_s = now_s
        if table.boot_share:
            self._machine.start(Boot(table.boot_share))
        self._machine.start(table.programs)

    def run(self, seconds: float, now_s: float) -> None:
        """Let the guest run for a while, which ends at ``now_s``."""
        kinds = {fault.kind for fault in self._faults(now_s)}
        if "paused" in kinds:
            return
        if "stuck" not in kinds:
            self._device.set_target(self.target_bytes)
        if "silent" not in kinds and self._reports.due(now_s):
            self._device.ask_statistics()
        self._ran_s += seconds
        run_until(self._guest.kernel, self._ran_s)
        device = self._device.device
        self._reports.heard(device.counters.statistics_updates, device.state.statistics, now_s)

    def _faults(self, now_s: float) -> list[Fault]:
        return [fault for fault in self.table.fault if fault.lasts(now_s)]

    @property
    def held_bytes(self) -> int:
        """What the balloon holds, by the device's map."""
        return self._device.device.frame_map.held_frames * FRAME_BYTES

    @property
    def driver_bytes(self) -> int:
        """What the balloon holds, by the driver."""
        return self._driver.num_pages * FRAME_BYTES

    def touched(self) -> Frames:
        """Return which frames the host has to have for it."""
        return self._device.touched()

    def held(self) -> Frames:
        """Return which frames the balloon holds."""
        return self._device.held()

    def resident_bytes(self) -> int:
        """Return what the guest takes of the host."""
        return int(self._device.touched().sum()) * FRAME_BYTES

    def event(self, what: VmEvent) -> int:
        """Return how often something has happened in the guest."""
        return int(self._guest.zone.events[what])

    def view(self, now_s: float) -> GuestView:
        """Return what a policy sees of it. Rates are since the last look."""
        migrated = self._device.device.counters.migrated_frames
        passed_s = max(1.0, now_s - self._looked_s)
        rate = (migrated - self._migrated) / passed_s
        self._migrated, self._looked_s = migrated, now_s
        paused = any(fault.kind == "paused" for fault in self._faults(now_s))
        return GuestView(
            name=self.name,
            memory_bytes=self.table.memory,
            min_bytes=self.table.min,
            max_bytes=self.table.max_bytes,
            target_bytes=self.target_bytes,
            actual_bytes=self.held_bytes,
            resident_bytes=self.resident_bytes(),
            statistics=self._reports.shown(now_s),
            fragmentation=self._fragmentation(),
            migrated_frames_per_s=rate,
            shares=self.table.shares,
            priority=self.table.priority,
            state="paused" if paused else "running",
        )

    def _fragmentation(self) -> Fragmentation:
        zone = self._guest.zone
        free = int(zone.counts[ZoneCount.FREE])
        huge = sum(int(zone.nr_free[order]) << order for order in range(PAGEBLOCK_ORDER, ORDERS))
        share = min(1.0, huge / free) if free else 0.0
        return Fragmentation(free_huge_share=share, unusable_index=1.0 - share)

    def close(self) -> None:
        """Power off."""
        self._device.close()
        self._guest.close()
