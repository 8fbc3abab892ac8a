"""Sizes at most once a second: what changes with every request is told when it has settled or a second has passed."""

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 1.0

CallLater = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


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
        self._due: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Something changed."""
        if self._due is not None:
            return
        wait_s = self._told_at_s + INTERVAL_S - self._now_s()
        if wait_s <= 0:
            self._say()
        else:
            self._due = self._call_later(wait_s, self._say)

    def later(self) -> None:
        """Something changed, which is told in :data:`INTERVAL_S` and not before."""
        if self._due is None:
            self._due = self._call_later(INTERVAL_S, self._say)

    def stop(self) -> None:
        """Tell no more, until something changes again."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _say(self) -> None:
        self._due = None
        self._told_at_s = self._now_s()
        self._tell()
