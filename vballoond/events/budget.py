"""A bound on what one guest can have told: its driver may come and go ten thousand times a second."""

from collections.abc import Callable
from typing import Final

MOST: Final = 20
"""Events that are told in one window. A guest that boots brings about five."""

WINDOW_S: Final = 1.0


class Budget:
    """Counts what is told, anew in each window.

    Args:
        now_s: The monotonic clock.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.untold = 0
        """What was not, since the last that was."""
        self._now_s: Final = now_s
        self._ends_at_s = float("-inf")
        self._left = 0

    def spend(self) -> bool:
        """Say whether one more may be told; one that may not is counted."""
        if self._now_s() >= self._ends_at_s:
            self._ends_at_s = self._now_s() + WINDOW_S
            self._left = MOST
        if not self._left:
            self.untold += 1
            return False
        self._left -= 1
        return True
