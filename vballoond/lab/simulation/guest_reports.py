"""What a guest said of its memory, as a policy sees it: with its age, and rates between the last two reports."""

from typing import TYPE_CHECKING, Final

from ...balloon.statistics import Statistics
from ...balloon.statistics_quality import AMOUNTS_NOW
from ...policy import GuestStatistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from protocol.balloon.statistics import StatisticTag

_MISSED_INTERVALS: Final = 3
_GRACE_S: Final = 1.0


class GuestReports:
    """The statistics of one guest.

    Args:
        interval_s: How often it is asked.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s: Final = interval_s
        self._seen = 0
        self._values: Mapping[StatisticTag, int] = {}
        self._rates: dict[str, float] = {}
        self._arrived_s = 0.0
        self._asked_s = -interval_s

    def due(self, now_s: float) -> bool:
        """Whether the guest is to be asked; it counts as asked then."""
        if now_s - self._asked_s < self._interval_s:
            return False
        self._asked_s = now_s
        return True

    def heard(self, updates: int, statistics: Statistics | None, now_s: float) -> None:
        """Take in what the device knows, which has heard from the guest so often."""
        if statistics is None or updates == self._seen:
            return
        passed_s = now_s - self._arrived_s
        if self._values and passed_s > 0:
            self._rates = {
                tag.name.lower(): max(0, value - self._values[tag]) / passed_s
                for tag, value in statistics.values.items()
                if tag in self._values and tag not in AMOUNTS_NOW
            }
        self._seen, self._values, self._arrived_s = updates, statistics.values, now_s

    def shown(self, now_s: float) -> GuestStatistics | None:
        """Return what a policy sees; None before the first report."""
        if not self._values:
            return None
        age_s = now_s - self._arrived_s
        return GuestStatistics(
            values={tag.name.lower(): value for tag, value in self._values.items()},
            age_s=age_s,
            stale=age_s > _MISSED_INTERVALS * self._interval_s + _GRACE_S,
            rates_per_s=self._rates,
        )
