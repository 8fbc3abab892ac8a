"""What guests say of their memory, as metrics: claims, with the time at which they came and how far they can be used.

Rules of this file:

* What there is of something now is a gauge; what counts since the guest booted is a counter, which begins anew with it.
* Of a driver that is not there nothing is claimed. All ones are no value.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from protocol.balloon.statistics import StatisticTag

from ..balloon.statistics import Statistics
from ..balloon.statistics_quality import ALL_ONES, AMOUNTS_NOW, Quality
from ..service.balloon_service import BalloonService
from ..service.reports import quality_of

NAMES: Final = {
    StatisticTag.SWAP_IN: ("swapped_in_bytes", "Memory read from swap."),
    StatisticTag.SWAP_OUT: ("swapped_out_bytes", "Memory written to swap."),
    StatisticTag.MAJOR_FAULTS: ("major_faults", "Page faults that read from a disk."),
    StatisticTag.MINOR_FAULTS: ("minor_faults", "Page faults that read from no disk."),
    StatisticTag.FREE_MEMORY: ("memory_free_bytes", "Memory that nothing uses (MemFree)."),
    StatisticTag.TOTAL_MEMORY: ("memory_total_bytes", "Memory that the kernel manages (MemTotal)."),
    StatisticTag.AVAILABLE_MEMORY: ("memory_available_bytes", "Memory that programs can get (MemAvailable)."),
    StatisticTag.DISK_CACHES: ("memory_disk_caches_bytes", "Page cache that can be dropped."),
    StatisticTag.HUGETLB_ALLOCATIONS: ("hugetlb_allocations", "Huge pages that were allocated."),
    StatisticTag.HUGETLB_FAILURES: ("hugetlb_failures", "Huge pages that could not be allocated."),
    StatisticTag.OOM_KILL: ("oom_kills", "Programs killed since memory ran out."),
    StatisticTag.ALLOC_STALL: ("allocation_stalls", "Allocations that had to reclaim memory themselves."),
    StatisticTag.ASYNC_SCAN: ("async_scanned_bytes", "Memory looked at in the background, to reclaim it."),
    StatisticTag.DIRECT_SCAN: ("direct_scanned_bytes", "Memory looked at by whoever allocated."),
    StatisticTag.ASYNC_RECLAIM: ("async_reclaimed_bytes", "Memory reclaimed in the background."),
    StatisticTag.DIRECT_RECLAIM: ("direct_reclaimed_bytes", "Memory reclaimed by whoever allocated."),
}


@dataclass(frozen=True, slots=True)
class _Claim:
    vm: str
    statistics: Statistics
    quality: Quality


def guest_metrics(services: Iterable[BalloonService]) -> Iterator[Metric]:
    """Yield what the guests of ``services`` say."""
    claims = [claim for service in services if (claim := _claim_of(service)) is not None]
    yield from _of_quality(claims)
    for tag in StatisticTag:
        name, text = NAMES[tag]
        kind = GaugeMetricFamily if tag in AMOUNTS_NOW else CounterMetricFamily
        family = kind(f"vballoond_guest_{name}", f"The guest's claim: {text}", labels=["vm"])
        for claim in claims:
            value = claim.statistics.values.get(tag, ALL_ONES)
            if value != ALL_ONES:
                family.add_metric([claim.vm], value)
        yield family


def _claim_of(service: BalloonService) -> _Claim | None:
    statistics = service.device.state.statistics
    if statistics is None or not service.device.state.running:
        return None
    _, quality = quality_of(statistics, service, service.clock.now())
    return _Claim(service.settings.name, statistics, quality)


def _of_quality(claims: list[_Claim]) -> Iterator[Metric]:
    came = GaugeMetricFamily(
        "vballoond_guest_stats_last_update_timestamp_seconds", "When statistics came last.", labels=["vm"]
    )
    stale = GaugeMetricFamily("vballoond_guest_stats_stale", "1 where they are too old to be used.", labels=["vm"])
    doubtful = GaugeMetricFamily("vballoond_guest_stats_doubtful", "Values that cannot be true.", labels=["vm"])
    for claim in claims:
        came.add_metric([claim.vm], claim.statistics.arrived_at.timestamp())
        stale.add_metric([claim.vm], float(claim.quality.stale))
        doubtful.add_metric([claim.vm], len(claim.quality.doubtful))
    yield from (came, stale, doubtful)
