"""How far a guest's statistics can be used: whether they are old, what is missing, what cannot be true.

Rules of this file:

* Nothing is corrected or left out: a value that is doubted is still what the guest said.
* A value is only doubted for a reason that stands beside it. What passes is no truer for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.balloon.statistics import StatisticTag

from .statistics import Statistics

ALL_ONES: Final = (1 << 64) - 1
"""What a driver sends that counts below nothing, or has no value."""

_MISSED_INTERVALS: Final = 3
_GRACE_S: Final = 1.0

AMOUNTS_NOW: Final = frozenset(
    {
        StatisticTag.FREE_MEMORY,
        StatisticTag.TOTAL_MEMORY,
        StatisticTag.AVAILABLE_MEMORY,
        StatisticTag.DISK_CACHES,
    }
)
"""What there is of something; all others count since the guest booted, so they never fall."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What is to be known of statistics besides their values.

    Attributes:
        stale: They are older than three intervals and a second, or there is no driver any more that could send others.
        missing: What the driver did not send, in the order of the tags.
        doubtful: What cannot be true, with the reason.
    """

    stale: bool
    missing: tuple[StatisticTag, ...]
    doubtful: Mapping[StatisticTag, str]


def judge(
    statistics: Statistics, *, age_s: float, interval_s: float, running: bool, memory_bytes: int | None
) -> Quality:
    """Return the quality of statistics.

    Args:
        statistics: What the guest said.
        age_s: How long ago.
        interval_s: How often it is asked; 0: never, so that everything is old after a second.
        running: Whether there is a driver that is served.
        memory_bytes: The guest's memory; None while unknown.
    """
    doubtful = {tag: reason for tag in statistics.values if (reason := _doubt(tag, statistics, memory_bytes))}
    return Quality(
        stale=not running or age_s > _MISSED_INTERVALS * interval_s + _GRACE_S,
        missing=tuple(tag for tag in StatisticTag if tag not in statistics.values),
        doubtful=doubtful,
    )


def _doubt(tag: StatisticTag, statistics: Statistics, memory_bytes: int | None) -> str:
    """Return why the value of ``tag`` cannot be true; empty: nothing is known against it."""
    value = statistics.values[tag]
    if value == ALL_ONES:
        return "all bits are ones: no value, or one below zero"
    if tag not in AMOUNTS_NOW:
        return _fell(value, statistics.before.get(tag))
    if tag is StatisticTag.TOTAL_MEMORY:
        return _above(value, memory_bytes, "the guest's memory")
    return _above(value, statistics.values.get(StatisticTag.TOTAL_MEMORY), "total_memory")


def _above(value: int, bound: int | None, name: str) -> str:
    return f"above {name}, which is {bound}" if bound is not None and value > bound else ""


def _fell(value: int, before: int | None) -> str:
    # A counter that has come to its end begins anew; all ones were no value.
    return f"a counter that fell: it was {before}" if before not in (None, ALL_ONES) and value < before else ""
