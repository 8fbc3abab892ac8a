"""The current resize of a balloon, and those who wait for it."""

import asyncio
from typing import Final

from ..balloon.resize import Resize
from ..clock import Clock
from ..histogram import Histogram

_BOUNDS_S: Final = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Resizing:
    """Keeps the newest resize; an older one is superseded, which those who wait for it are told."""

    def __init__(self, clock: Clock) -> None:
        self.current: Resize | None = None
        self.durations_s: Final = Histogram(_BOUNDS_S)
        """Of those that were done."""
        self._clock: Final = clock
        self._begun_at_s = 0.0
        self._changed: Final[set[asyncio.Future[None]]] = set()

    def begin(self, target_frames: int, actual_frames: int) -> int:
        """Start a resize in the place of the one before; return its number, counted from 1."""
        number = self.current.id + 1 if self.current else 1
        now_s = self._begun_at_s = self._clock.monotonic_s()
        self.current = Resize.begin(number, target_frames, actual_frames, self._clock.now(), now_s)
        self._wake()
        return number

    def observe(self, actual_frames: int, held_frames: int) -> Resize | None:
        """Take in what driver and map say; return the resize if this is what finished it."""
        if self.current is None or self.current.done:
            return None
        now_s = self._clock.monotonic_s()
        self.current = self.current.observe(actual_frames, held_frames, now_s)
        if not self.current.done:
            return None
        self.durations_s.observe(now_s - self._begun_at_s)
        self._wake()
        return self.current

    def stalled(self) -> bool:
        """Say whether the current resize has not moved for too long."""
        return self.current is not None and self.current.stalled(self._clock.monotonic_s())

    async def wait(self, number: int, timeout_s: float) -> bool:
        """Wait until resize ``number`` is done or superseded, for ``timeout_s`` at most; say whether it is either."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        while self.current is not None and self.current.id == number and not self.current.done:
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
