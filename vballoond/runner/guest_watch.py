"""Balloons as policies see them.

Rules of this file:

* What a policy can take is what the frame map says that the balloon holds, not the driver's word.
* Statistics are a guest's claim: what is doubted is left out, as if it had not been said.
* Without a configured ``max``, a quarter of its memory remains for the guest: a policy knows no shame, and a guest
  without memory is dead.
* A guest is ``new`` while its memory is not known or nobody drives its balloon, and for a while after.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.statistics import StatisticTag

from ..balloon.statistics import Statistics
from ..balloon.statistics_quality import AMOUNTS_NOW
from ..policy.view import Fragmentation, GuestStatistics, GuestView, Responsiveness
from ..service.balloon_service import BalloonService
from ..service.reports import quality_of

_KEPT_PARTS: Final = 4
_AT_A_TIME: Final = 16
"""Balloons that are looked at before others have their turn: a millisecond's worth."""


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    migrated_frames: int


class GuestWatch:
    """Looks at balloons, and remembers of each what rates are made of.

    Args:
        new_for_s: How long a guest is left alone once its driver is there.
    """

    def __init__(self, new_for_s: float) -> None:
        self.new_for_s = new_for_s
        self._seen: dict[str, _Seen] = {}

    async def guests(self, services: Sequence[BalloonService], now_s: float, *, keep: bool) -> tuple[GuestView, ...]:
        """Return how the balloons are now; ``keep`` has the rates of the next look begin here."""
        seen = {it.settings.name: _Seen(now_s, it.device.counters.migrated_frames) for it in services}
        views = []
        for number, service in enumerate(services, 1):
            views.append(self._view(service, seen[service.settings.name]))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        if keep:
            self._seen = seen
        return tuple(views)

    def _view(self, service: BalloonService, seen: _Seen) -> GuestView:
        settings, memory_bytes = service.settings, service.memory.size_bytes
        most_bytes = memory_bytes - memory_bytes // _KEPT_PARTS if settings.max is None else settings.max
        max_bytes = min(memory_bytes, most_bytes)
        return GuestView(
            name=settings.name,
            memory_bytes=memory_bytes,
            min_bytes=min(settings.min, max_bytes),
            max_bytes=max_bytes,
            target_bytes=service.target_frames * FRAME_BYTES,
            actual_bytes=service.held_frames * FRAME_BYTES,
            resident_bytes=service.memory.resident_bytes() if memory_bytes else None,
            statistics=_statistics(service),
            fragmentation=_fragmentation(service),
            migrated_frames_per_s=self._migrated_frames_per_s(service, seen),
            shares=settings.shares,
            priority=settings.priority,
            state=self._state(service),
        )

    def _migrated_frames_per_s(self, service: BalloonService, seen: _Seen) -> float:
        before = self._seen.get(service.settings.name)
        if before is None or seen.at_s <= before.at_s:
            return 0.0
        return max(0, seen.migrated_frames - before.migrated_frames) / (seen.at_s - before.at_s)

    def _state(self, service: BalloonService) -> Responsiveness:
        if service.driven_since_s is None or not service.memory.size_bytes:
            return "new"
        if service.state_name in {"paused", "broken"}:
            return "broken" if service.state_name == "broken" else "paused"
        if service.clock.monotonic_s() - service.driven_since_s < self.new_for_s:
            return "new"
        stall = service.target.stall()
        if stall is None or stall.code == "guest-out-of-memory":
            # One that finds nothing more to give may need some back: the guard sees in time that it does not move.
            return "running"
        return "silent" if stall.code == "guest-silent" else "stalled"


def _statistics(service: BalloonService) -> GuestStatistics | None:
    statistics = service.statistics
    if statistics is None:
        return None
    age_s, quality = quality_of(statistics, service, service.clock.now())
    believed = {tag: value for tag, value in statistics.values.items() if tag not in quality.doubtful}
    return GuestStatistics(
        values={tag.name.lower(): value for tag, value in believed.items()},
        age_s=age_s,
        stale=quality.stale,
        rates_per_s=_rates(statistics, believed, service.statistics_interval_s),
    )


def _rates(statistics: Statistics, believed: Mapping[StatisticTag, int], interval_s: float) -> dict[str, float]:
    """Return how fast counters rose from one report to the next. A guest is asked so often, and it answers at once."""
    if interval_s <= 0:
        return {}
    before = statistics.before
    counters = {tag: value for tag, value in believed.items() if tag not in AMOUNTS_NOW and tag in before}
    return {tag.name.lower(): max(0, value - before[tag]) / interval_s for tag, value in counters.items()}


def _fragmentation(service: BalloonService) -> Fragmentation | None:
    if service.free_blocks is None:
        return None
    free, huge = service.free_blocks()
    if not free:
        return None
    share = min(1.0, huge / free)
    return Fragmentation(free_huge_share=share, unusable_index=1.0 - share)
