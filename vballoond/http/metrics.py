"""/metrics: everything in figures, as OpenMetrics or in Prometheus' own format, as the scraper accepts.

Rules of this file:

* Figures are read from the balloons when somebody asks; nothing is kept here.
* A balloon has a bounded number of samples, whatever its guest does: labels are its name, and words of the code.
* Names end in their unit, and counters in ``_total``; what is told of a balloon has its name as ``vm``.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Final, get_args

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from protocol.balloon.page_frames import FRAME_BYTES

from .. import __version__
from ..histogram import Histogram
from ..runner.runner import PolicyRunner
from ..service.balloon_service import BalloonService
from ..service.stalls import Code
from .connections import Connection
from .guest_metrics import guest_metrics
from .health import problems_of
from .keys import POLICY, REGISTRY
from .policy_metrics import policy_metrics
from .request_log import REQUESTS

_STATES: Final = ("waiting", "running", "paused", "broken")
_REASONS: Final = get_args(Code)
_COUNTERS: Final = {
    "inflate_requests": ("inflate_requests", "Requests to give frames to the balloon."),
    "inflated_frames": ("inflated_pages", "Frames given to the balloon."),
    "deflate_requests": ("deflate_requests", "Requests to take frames back from the balloon."),
    "deflated_frames": ("deflated_pages", "Frames taken back from the balloon."),
    "migrated_frames": ("migrated_pages", "Frames of the balloon that the guest replaced by others."),
    "reporting_requests": ("reporting_requests", "Requests with free frames."),
    "reported_frames": ("reported_pages", "Free frames that the guest reported."),
    "hinted_frames": ("hinted_pages", "Free frames that the guest hinted at."),
    "stale_hints": ("stale_hints", "Hints of a round that is over; ignored."),
    "statistics_updates": ("statistics_updates", "Statistics that came."),
    "config_writes": ("config_writes", "Writes to the configuration space."),
    "repeated_frames": ("repeated_pages", "Frames named twice, inflated while held or deflated while not held."),
    "foreign_frames": ("foreign_pages", "Frames named that are not of the guest's memory; ignored."),
    "odd_bytes": ("odd_bytes", "Bytes behind the last whole page frame number of a request; ignored."),
    "guest_errors": ("guest_errors", "Times that the driver broke the balloon."),
    "release_errors": ("release_errors", "Times that memory could not be given back."),
}


async def show_metrics(request: web.Request) -> web.Response:
    """All figures."""
    registry = request.app[REGISTRY]
    collectors = CollectorRegistry()
    collectors.register(_Daemon(request))
    collectors.register(_Balloons(list(registry)))
    collectors.register(_Policies(request.app[POLICY], list(registry)))
    ProcessCollector(registry=collectors)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(collectors), headers={"Content-Type": content_type})


class _Daemon(Collector):
    def __init__(self, request: web.Request) -> None:
        self._request: Final = request

    def collect(self) -> Iterator[Metric]:
        app = self._request.app
        yield InfoMetricFamily("vballoond_build", "What runs.", value={"version": __version__})
        yield GaugeMetricFamily("vballoond_balloons", "Balloons that are listed.", value=len(app[REGISTRY]))
        yield GaugeMetricFamily("vballoond_problems", "What /readyz has to say.", value=len(problems_of(app)))
        if isinstance(connection := self._request.protocol, Connection):
            yield GaugeMetricFamily(
                "vballoond_api_connections", "Connections to the API.", value=len(connection.connections)
            )
        requests = CounterMetricFamily("vballoond_api_requests", "Requests to the API.", labels=["method", "code"])
        for (method, code), number in sorted(app[REQUESTS].items()):
            requests.add_metric([method, code], number)
        yield requests


class _Balloons(Collector):
    def __init__(self, services: list[BalloonService]) -> None:
        self._services: Final = services

    def collect(self) -> Iterator[Metric]:
        yield from _sizes(self._services)
        yield from _counters(self._services)
        yield _stalls(self._services)
        yield from guest_metrics(self._services)
        yield from _durations(self._services)


class _Policies(Collector):
    def __init__(self, policies: PolicyRunner, services: list[BalloonService]) -> None:
        self._policies: Final = policies
        self._services: Final = services

    def collect(self) -> Iterator[Metric]:
        yield from policy_metrics(self._policies, self._services)


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
            if field in counters:
                family.add_metric([vm], counters[field])
        yield family


def _stalls(services: list[BalloonService]) -> Metric:
    family = CounterMetricFamily(
        "vballoond_balloon_stalls", "Times that a resize did not move.", labels=["vm", "reason"]
    )
    for service in services:
        for reason in _REASONS:
            family.add_metric([service.settings.name, reason], service.target.stalls[reason])
    return family


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
