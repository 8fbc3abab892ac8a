"""Whether a driver gives any sign of life, found out from what is counted anyway."""

from typing import Final

from ..balloon.counters import Counters
from ..clock import Clock


class Heard:
    """Knows for how long nothing came of a driver, as exactly as it is asked often.

    Args:
        clock: The time.
        counters: What the driver's requests and writes are counted in.
    """

    def __init__(self, clock: Clock, counters: Counters) -> None:
        self._clock: Final = clock
        self._counters: Final = counters
        self._count = 0
        self._at_s = clock.monotonic_s()

    def silent_s(self) -> float:
        """For how long nothing has come, since it was asked first."""
        now_s, count = self._clock.monotonic_s(), self._signs()
        if count != self._count:
            self._count, self._at_s = count, now_s
        return now_s - self._at_s

    def _signs(self) -> int:
        of = self._counters
        return (
            of.inflate_requests + of.deflate_requests + of.reporting_requests + of.statistics_updates + of.config_writes
        )
