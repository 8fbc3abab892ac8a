"""What the guest counts, and the statistics that its balloon driver sends: Linux's update_balloon_stats()."""

from dataclasses import dataclass

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag

from .pages import PageCounts


@dataclass(slots=True)
class VmStat:
    """The lines of /proc/vmstat that a balloon moves."""

    balloon_inflate: int = 0
    balloon_deflate: int = 0
    balloon_migrate: int = 0
    pswpin: int = 0
    pswpout: int = 0
    pgmajfault: int = 0
    pgfault: int = 0


def statistics_buffer(vmstat: VmStat, pages: PageCounts, managed_frames: int) -> bytes:
    """Return the statistics as Linux 6.1 sends them without hugetlb, in its order; sizes are in bytes."""
    entries = (
        Statistic(StatisticTag.SWAP_IN, vmstat.pswpin * FRAME_BYTES),
        Statistic(StatisticTag.SWAP_OUT, vmstat.pswpout * FRAME_BYTES),
        Statistic(StatisticTag.MAJOR_FAULTS, vmstat.pgmajfault),
        Statistic(StatisticTag.MINOR_FAULTS, vmstat.pgfault),
        Statistic(StatisticTag.FREE_MEMORY, pages.free * FRAME_BYTES),
        Statistic(StatisticTag.TOTAL_MEMORY, managed_frames * FRAME_BYTES),
        Statistic(StatisticTag.AVAILABLE_MEMORY, (pages.free + pages.cached) * FRAME_BYTES),
        Statistic(StatisticTag.DISK_CACHES, pages.cached * FRAME_BYTES),
    )
    return b"".join(STATISTIC.pack(entry) for entry in entries)
