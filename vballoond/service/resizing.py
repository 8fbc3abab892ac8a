"""The resizes of a balloon, the newest and those before, and who waits for one."""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Final

from ..balloon.resize import Author, Outcome, Resize, Terms
from ..clock import Clock
from ..histogram import Histogram

REMEMBERED: Final = 64
"""Resizes that can be looked up, with the newest."""

_BOUNDS_S: Final = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Resizing:
    """Keeps the newest resize; an older one that was not over is superseded, which those who wait for it are told."""

    def __init__(self, clock: Clock) -> None:
        self.current: Resize | None = None
        self.durations_s: Final = Histogram(_BOUNDS_S)
        """Of those that were done."""
        self._before: Final[deque[Resize]] = deque(maxlen=REMEMBERED - 1)
        self._clock: Final = clock
        self._changed: Final[set[asyncio.Future[None]]] = set()

    def __iter__(self) -> Iterator[Resize]:
        """The newest first."""
        if self.current is not None:
            yield self.current
        yield from self._before

    def find(self, number: int) -> Resize | None:
        """Return resize ``number``; None where there was none, or it is forgotten."""
        return next((resize for resize in self if resize.id == number), None)

    def begin(
        self,
        target_frames: int,
        actual_frames: int,
        terms: Terms = Terms(),  # noqa: B008 (frozen)
        by: Author = Author.OPERATOR,
    ) -> int:
        """Start a resize in the place of the one before; return its number, counted from 1."""
        number, now_s = 1, self._clock.monotonic_s()
        if self.current is not None:
            number = self.current.id + 1
            self._before.appendleft(self.current.end(Outcome.SUPERSEDED, now_s))
        self.current = Resize.begin(number, target_frames, actual_frames, self._clock.now(), now_s, terms, by)
        self._wake()
        return number

    def observe(self, actual_frames: int, held_frames: int) -> Resize | None:
        """Take in what driver and map say; return the resize if this is what finished it."""
        if self.current is None or self.current.over:
            return None
        now_s = self._clock.monotonic_s()
        self.current = self.current.observe(actual_frames, held_frames, now_s)
        if not self.current.done:
            return None
        self.durations_s.observe(now_s - self.current.started_at_s)
        self._wake()
        return self.current

    def end(self, outcome: Outcome) -> Resize:
        """End the newest resize, of which there must be one, and return it."""
        assert self.current is not None
        self.current = self.current.end(outcome, self._clock.monotonic_s())
        self._wake()
        return self.current

    async def wait(self, number: int, timeout_s: float) -> bool:
        """Wait until resize ``number`` is over, for ``timeout_s`` at most; say whether it is."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        while self.current is not None and self.current.id == number and not self.current.over:
            future = asyncio.get_running_loop().create_future()
            self._changed.add(future)
            try:
                async with asyncio.timeout(deadline_s - self._clock.monotonic_s()):
                    await future
            except TimeoutError:
                return False
            finally:
                self._changed.discard(future)
        return True

    def _wake(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)
