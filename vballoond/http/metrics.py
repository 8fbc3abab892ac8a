"""/metrics: everything in figures, as OpenMetrics or in Prometheus' own format, as the scraper accepts.

Figures are read from the balloons when somebody asks; nothing is kept here.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.statistics import StatisticTag

from ..histogram import Histogram
from ..service.balloon_service import BalloonService
from .keys import REGISTRY

_STATES: Final = ("waiting", "running", "paused", "broken")
_COUNTERS: Final = {
    "inflated_frames": ("inflated_pages", "Frames given to the balloon."),
    "deflated_frames": ("deflated_pages", "Frames taken back from the balloon."),
    "reported_frames": ("reported_pages", "Free frames that the guest reported."),
    "hinted_frames": ("hinted_pages", "Free frames that the guest hinted at."),
    "repeated_frames": ("repeated_pages", "Frames named twice, inflated while held or deflated while not held."),
    "foreign_frames": ("foreign_pages", "Frames named that are not of the guest's memory; ignored."),
    "statistics_updates": ("statistics_updates", "Statistics that came."),
    "guest_errors": ("guest_errors", "Times that the driver broke the balloon."),
    "release_errors": ("release_errors", "Times that memory could not be given back."),
}
_BYTES: Final = {
    StatisticTag.SWAP_IN: "swapped_in",
    StatisticTag.SWAP_OUT: "swapped_out",
    StatisticTag.FREE_MEMORY: "free",
    StatisticTag.TOTAL_MEMORY: "total",
    StatisticTag.AVAILABLE_MEMORY: "available",
    StatisticTag.DISK_CACHES: "disk_caches",
}
"""Statistics that are amounts of memory; all others are numbers of events since the guest booted."""


async def show_metrics(request: web.Request) -> web.Response:
    """All figures."""
    registry = request.app[REGISTRY]
    collectors = CollectorRegistry()
    collectors.register(_Balloons(list(registry)))
    ProcessCollector(registry=collectors)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(collectors), headers={"Content-Type": content_type})


class _Balloons(Collector):
    def __init__(self, services: list[BalloonService]) -> None:
        self._services: Final = services

    def collect(self) -> Iterator[Metric]:
        yield from _sizes(self._services)
        yield from _counters(self._services)
        yield from _statistics(self._services)
        yield from _durations(self._services)


def _sizes(services: list[BalloonService]) -> Iterator[Metric]:
    sizes: dict[str, tuple[str, Callable[[BalloonService], int | None]]] = {
        "balloon_target_bytes": ("What the balloon is to hold.", lambda it: it.target_frames * FRAME_BYTES),
        "balloon_actual_bytes": ("What the driver says it holds.", lambda it: it.actual_frames * FRAME_BYTES),
        "balloon_held_bytes": ("Inflated and not deflated since.", lambda it: _held(it) * FRAME_BYTES),
        "guest_memory_bytes": ("The guest's memory.", lambda it: it.memory.size_bytes or None),
        "guest_resident_bytes": ("What the guest's memory takes of the host.", _resident),
    }
    for name, (text, read) in sizes.items():
        family = GaugeMetricFamily(f"vballoond_{name}", text, labels=["vm"])
        for service in services:
            value = read(service)
            if value is not None:
                family.add_metric([service.settings.name], value)
        yield family
    states = GaugeMetricFamily("vballoond_balloon_state", "1 for the state that it is in.", labels=["vm", "state"])
    for service in services:
        for state in _STATES:
            states.add_metric([service.settings.name, state], float(service.state_name == state))
    yield states


def _held(service: BalloonService) -> int:
    return service.device.frame_map.held_frames


def _resident(service: BalloonService) -> int | None:
    return service.memory.resident_bytes() if service.memory.regions else None


def _counters(services: list[BalloonService]) -> Iterator[Metric]:
    freed = CounterMetricFamily("vballoond_balloon_reclaimed_bytes", "What giving frames back freed.", labels=["vm"])
    for service in services:
        freed.add_metric([service.settings.name], service.releasing.reclaimed_bytes)
    yield freed
    values = [(service.settings.name, asdict(service.device.counters)) for service in services]
    for field, (name, text) in _COUNTERS.items():
        family = CounterMetricFamily(f"vballoond_balloon_{name}", text, labels=["vm"])
        for vm, counters in values:
            family.add_metric([vm], counters[field])
        yield family


def _statistics(services: list[BalloonService]) -> Iterator[Metric]:
    all_of_them = ((service.settings.name, service.device.state.statistics) for service in services)
    known = [(vm, statistics) for vm, statistics in all_of_them if statistics is not None]
    came = GaugeMetricFamily("vballoond_guest_stats_last_update_timestamp_seconds", "When.", labels=["vm"])
    for vm, statistics in known:
        came.add_metric([vm], statistics.arrived_at.timestamp())
    yield came
    for tag in StatisticTag:
        text = f"The guest's claim: {tag.name.lower()}."
        name = f"memory_{_BYTES[tag]}_bytes" if tag in _BYTES else f"events_{tag.name.lower()}"
        family = GaugeMetricFamily(f"vballoond_guest_{name}", text, labels=["vm"])
        for vm, statistics in known:
            if tag in statistics.values:
                family.add_metric([vm], statistics.values[tag])
        yield family


def _durations(services: list[BalloonService]) -> Iterator[Metric]:
    for name, text, read in (
        ("balloon_resize_duration_seconds", "From a target to the balloon having it.", _resizes),
        ("queue_turn_seconds", "Serving what a kick brought, a turn at a time.", _turns),
    ):
        family = HistogramMetricFamily(f"vballoond_{name}", text, labels=["vm"])
        for service in services:
            histogram = read(service)
            family.add_metric([service.settings.name], histogram.cumulative(), histogram.sum)
        yield family


def _resizes(service: BalloonService) -> Histogram:
    return service.resizing.durations_s


def _turns(service: BalloonService) -> Histogram:
    return service.turns_s
