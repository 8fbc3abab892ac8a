"""How often something took how long: plain numbers, added to while serving and read when somebody asks."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final


class Histogram:
    """Counts observations in buckets.

    Args:
        bounds: The upper bound of each bucket, ascending; one without an end stands behind them.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = tuple(bounds)
        self.sum = 0.0
        self._counts: Final = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count an observation."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return each bound, as OpenMetrics writes it, with how many observations are at most that."""
        total = 0
        buckets = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets
