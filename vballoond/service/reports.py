"""Resizes and statistics as plain data: what the API shows of them, and what its events say."""

from datetime import datetime
from typing import Any, Protocol

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.resize import Resize
from ..balloon.statistics import Statistics
from ..balloon.statistics_quality import Quality, judge
from ..memory.guest_memory import GuestMemory
from .stalls import Stall


def resize_report(resize: Resize, stall: Stall | None, now_s: float) -> dict[str, Any]:
    """Return all that is known of a resize."""
    deadline_s = resize.terms.deadline_s
    return {
        "id": resize.id,
        "by": resize.by.value,
        "target_bytes": resize.target_frames * FRAME_BYTES,
        "from_bytes": resize.from_frames * FRAME_BYTES,
        "reached_bytes": resize.actual_frames * FRAME_BYTES,
        "started_at": resize.started_at,
        "ended_at": None if resize.ended_at_s is None else resize.at(resize.ended_at_s),
        "progress": round(resize.progress(), 4),
        "rate_bytes_per_s": resize.rate_bytes_per_s(now_s),
        "expected_at": None if stall else resize.expected_at(now_s),
        "stalled": stall.sentence if stall else None,
        "stall": stall.code if stall else None,
        "settle": resize.terms.settle,
        "deadline_at": None if deadline_s is None else resize.at(resize.started_at_s + deadline_s),
        "outcome": resize.outcome.value if resize.outcome else None,
        "done": resize.done,
    }


class Asked(Protocol):
    """The balloon whose driver is asked for statistics."""

    memory: GuestMemory
    statistics_interval_s: float

    @property
    def state_name(self) -> str:
        """Whether there is a driver, and how it does."""


def quality_of(statistics: Statistics, balloon: Asked, now: datetime) -> tuple[float, Quality]:
    """Return how old statistics are, in seconds, and how far they can be used."""
    age_s = max(0.0, (now - statistics.arrived_at).total_seconds())  # the clock may be set back
    return age_s, judge(
        statistics,
        age_s=age_s,
        interval_s=balloon.statistics_interval_s,
        running=balloon.state_name == "running",
        memory_bytes=balloon.memory.size_bytes or None,
    )


def statistics_report(statistics: Statistics, balloon: Asked, now: datetime) -> dict[str, Any]:
    """Return what a guest said of its memory, how old that is, and what speaks against it."""
    age_s, quality = quality_of(statistics, balloon, now)
    return {
        "interval_s": balloon.statistics_interval_s,
        "arrived_at": statistics.arrived_at,
        "age_s": age_s,
        "stale": quality.stale,
        "statistics": {tag.name.lower(): value for tag, value in statistics.values.items()},
        "missing": [tag.name.lower() for tag in quality.missing],
        "doubtful": {tag.name.lower(): reason for tag, reason in quality.doubtful.items()},
    }
