"""Giving frames back to the host: where it is done, and what it came to."""

from typing import Final

import structlog

from ..balloon.counters import Counters
from ..config.models import BalloonSettings
from ..memory.frames import FrameRange
from ..memory.guest_memory import GuestMemory
from ..offload import Offload

# A punch of this size takes a fraction of a millisecond; handing it to a thread would cost more than it frees.
_INLINE_FRAMES: Final = 512
_INLINE_RANGES: Final = 64


class Releasing:
    """Gives the frames of one balloon back, unless its settings say not to.

    ``reclaimed_bytes`` is the running total of what that freed, by the kernel's account. ``problem`` says why it could
    not be done the last time that it was tried; None where it could. ``discard`` False gives nothing back from now on.
    """

    def __init__(self, settings: BalloonSettings, offload: Offload, counters: Counters) -> None:
        self.reclaimed_bytes = 0
        self.problem: str | None = None
        self.discard = settings.discard
        self._offload: Final = offload
        self._counters: Final = counters
        self._log: Final = structlog.get_logger().bind(balloon=settings.name)

    async def release(self, memory: GuestMemory, ranges: tuple[FrameRange, ...]) -> None:
        """Give ``ranges`` back, outside of the event loop where that may take long. An error is noted, not raised."""
        if not self.discard:
            return
        small = len(ranges) <= _INLINE_RANGES and sum(part.count for part in ranges) <= _INLINE_FRAMES
        released = memory.release(ranges) if small else await self._offload.run(memory.release, ranges)
        self.reclaimed_bytes += released.freed_bytes
        if released.error is None:
            self.problem = None
            return
        self._counters.release_errors += 1
        if self.problem is None:
            self._log.error("memory cannot be given back", reason=str(released.error))
        self.problem = str(released.error)
