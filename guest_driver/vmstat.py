"""What the guest says of its memory: /proc/vmstat, and the sums of /proc/meminfo."""

from collections.abc import Collection

from .balloon_compaction.counters import BALLOON_COUNTERS
from .mm.vm_events import VmEvent
from .mm.zone import Zone, ZoneCount


def vmstat(zone: Zone, existing: Collection[VmEvent]) -> dict[str, int]:
    """Return the lines of /proc/vmstat that the model counts.

    Of those for balloons only ``existing`` are there: what a kernel is built without has no line, not one that says 0.
    """
    events = (event for event in VmEvent if event not in BALLOON_COUNTERS or event in existing)
    return {event.name.lower(): int(zone.events[event]) for event in events}


def available_frames(zone: Zone) -> int:
    """Return how many frames could be had without swapping: MemAvailable, si_mem_available().

    Half of page cache and of slab counts as needed, but not more than the low watermark of each; and what is kept back
    for the kernel is nobody else's.
    """
    low = int(zone.counts[ZoneCount.WMARK_LOW])
    available = int(zone.counts[ZoneCount.FREE] - zone.counts[ZoneCount.WMARK_HIGH])
    for kind in (ZoneCount.FILE, ZoneCount.SLAB):
        frames = int(zone.counts[kind])
        available += frames - min(frames // 2, low)
    return max(0, available)
