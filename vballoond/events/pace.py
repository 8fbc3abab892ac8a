"""Sizes at most once a second: what changes with every request is told when it has settled or a second has passed."""

from collections.abc import Callable
from typing import Any, Final

INTERVAL_S: Final = 1.0

CallLater = Callable[[float, Callable[[], None]], Any]


class Pace:
    """Tells the newest of many changes: the first at once, then at most one in :data:`INTERVAL_S`.

    Args:
        tell: Is told that something changed since it was last; must not wait.
        now_s: The monotonic clock.
        call_later: Calls something after so many seconds.
    """

    def __init__(self, tell: Callable[[], None], now_s: Callable[[], float], call_later: CallLater) -> None:
        self._tell: Final = tell
        self._now_s: Final = now_s
        self._call_later: Final = call_later
        self._told_at_s = float("-inf")
        self._due = False

    def changed(self) -> None:
        """Something changed."""
        if self._due:
            return
        wait_s = self._told_at_s + INTERVAL_S - self._now_s()
        if wait_s <= 0:
            self._say()
        else:
            self._due = True
            self._call_later(wait_s, self._say)

    def _say(self) -> None:
        self._due = False
        self._told_at_s = self._now_s()
        self._tell()
