"""Telling the host how memory is used: update_balloon_stats() and the statsq.

Rules of this file:

* The statsq is primed with one buffer, and kicked, before DRIVER_OK (init_vqs); whenever the device returns it, it
  comes back with newer statistics. So there is never more than one, and it always has the same tags (5.5.6.3.1).
* Sizes, scans and reclaims are in bytes, the others are counts. Tags and their order are each kernel's own; this one
  was built without hugetlb.
"""

from collections.abc import Callable
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag

from ..balloon_compaction import Generation
from ..kernel import Thread, Work
from ..mm.vm_events import VmEvent
from ..mm.zone import Zone, ZoneCount
from ..vmstat import available_frames
from .queues import Queues
from .state import BalloonState

_EVENTS: Final = {
    StatisticTag.SWAP_IN: (VmEvent.PSWPIN, FRAME_BYTES),
    StatisticTag.SWAP_OUT: (VmEvent.PSWPOUT, FRAME_BYTES),
    StatisticTag.MAJOR_FAULTS: (VmEvent.PGMAJFAULT, 1),
    StatisticTag.MINOR_FAULTS: (VmEvent.PGFAULT, 1),
    StatisticTag.OOM_KILL: (VmEvent.OOM_KILL, 1),
    StatisticTag.ALLOC_STALL: (VmEvent.ALLOCSTALL, 1),
    StatisticTag.ASYNC_SCAN: (VmEvent.PGSCAN_KSWAPD, FRAME_BYTES),
    StatisticTag.DIRECT_SCAN: (VmEvent.PGSCAN_DIRECT, FRAME_BYTES),
    StatisticTag.ASYNC_RECLAIM: (VmEvent.PGSTEAL_KSWAPD, FRAME_BYTES),
    StatisticTag.DIRECT_RECLAIM: (VmEvent.PGSTEAL_DIRECT, FRAME_BYTES),
}

_SIZES: Final[dict[StatisticTag, Callable[[Zone], int]]] = {
    StatisticTag.FREE_MEMORY: lambda zone: int(zone.counts[ZoneCount.FREE]),
    StatisticTag.TOTAL_MEMORY: lambda zone: int(zone.counts[ZoneCount.MANAGED]),
    StatisticTag.AVAILABLE_MEMORY: available_frames,
    StatisticTag.DISK_CACHES: lambda zone: int(zone.counts[ZoneCount.FILE]),
}

_PAGING: Final = (StatisticTag.SWAP_IN, StatisticTag.SWAP_OUT, StatisticTag.MAJOR_FAULTS, StatisticTag.MINOR_FAULTS)
_RECLAIM: Final = (
    StatisticTag.OOM_KILL,
    StatisticTag.ALLOC_STALL,
    StatisticTag.ASYNC_SCAN,
    StatisticTag.DIRECT_SCAN,
    StatisticTag.ASYNC_RECLAIM,
    StatisticTag.DIRECT_RECLAIM,
)
_MEMORY: Final = (StatisticTag.FREE_MEMORY, StatisticTag.TOTAL_MEMORY)
_CACHES: Final = (StatisticTag.AVAILABLE_MEMORY, StatisticTag.DISK_CACHES)

TAGS: Final[dict[Generation, tuple[StatisticTag, ...]]] = {
    "2012": _PAGING + _MEMORY,
    "2022": _PAGING + _MEMORY + _CACHES,
    "2026": _PAGING + _RECLAIM + _MEMORY + _CACHES,
}
"""What each generation sends, in its order."""


def statistics_buffer(zone: Zone, generation: Generation) -> bytes:
    """Return the statistics as they are now."""
    return b"".join(STATISTIC.pack(Statistic(tag, _value(zone, tag))) for tag in TAGS[generation])


def _value(zone: Zone, tag: StatisticTag) -> int:
    if tag in _SIZES:
        return _SIZES[tag](zone) * FRAME_BYTES
    event, unit = _EVENTS[tag]
    return int(zone.events[event]) * unit


class Statistics:
    """The statsq.

    Args:
        vb: The driver.
        queues: Its queues.
    """

    def __init__(self, vb: BalloonState, queues: Queues) -> None:
        self.work: Final = Work(self._update_balloon_stats_func)
        self._vb: Final = vb
        self._queues: Final = queues
        self._buffer: Final = queues.alloc_buffer(STATISTIC.size * len(StatisticTag))

    def prime(self) -> None:
        """Make the one buffer available."""
        data = statistics_buffer(self._vb.mm.zone, self._vb.options.interface)
        self._vb.ram.write(self._buffer, data)
        self._queues.send(QueueRole.STATS, readable=((self._buffer, len(data)),))

    def _update_balloon_stats_func(self) -> Thread:
        if self._queues.get_used(QueueRole.STATS):
            self.prime()
        return
        yield  # a work function is a thread, though this one never sleeps
