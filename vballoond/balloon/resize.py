"""A resize: from a target that was set until the guest has reached it.

Pure: it is told sizes and times. Reached means that the driver's ``actual`` equals the target and the frame map agrees.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES

STALL_AFTER_S: Final = 4.0
"""ChromeOS calls a balloon stalled that moves too little for this long (vm_tools/concierge/mm/balloon.cc). Linux sends
a request every 200 ms at the least while it finds any memory."""

_RATE_WINDOW_S: Final = 1.0
_SHORTEST_SAMPLE_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Resize:
    """One resize and how it goes; times in seconds are the caller's monotonic clock."""

    id: int
    target_frames: int
    started_at: datetime
    actual_frames: int
    moved_at_s: float
    sampled_at_s: float
    sampled_frames: int
    rate_frames_per_s: float = 0.0
    done: bool = False

    @classmethod
    def begin(cls, number: int, target_frames: int, actual_frames: int, now: datetime, now_s: float) -> "Resize":
        """Start a resize towards ``target_frames``."""
        return cls(number, target_frames, now, actual_frames, now_s, now_s, actual_frames)

    def observe(self, actual_frames: int, held_frames: int, now_s: float) -> "Resize":
        """Take in what driver and map say now."""
        if self.done:
            return self
        moved_at_s = now_s if actual_frames != self.actual_frames else self.moved_at_s
        done = actual_frames == held_frames == self.target_frames
        observed = replace(self, actual_frames=actual_frames, moved_at_s=moved_at_s, done=done)
        elapsed_s = now_s - self.sampled_at_s
        if elapsed_s < _RATE_WINDOW_S and not done:
            return observed
        if elapsed_s < _SHORTEST_SAMPLE_S:
            # The end came right behind a sample: a rate over next to nothing would say nothing.
            return observed
        rate = abs(actual_frames - self.sampled_frames) / elapsed_s
        return replace(observed, rate_frames_per_s=rate, sampled_at_s=now_s, sampled_frames=actual_frames)

    def rate_bytes_per_s(self) -> int:
        """How fast the balloon moved over the last second or so; once done, over its last stretch."""
        return round(self.rate_frames_per_s * FRAME_BYTES)

    def stalled(self, now_s: float) -> bool:
        """Say whether nothing has moved for too long."""
        return not self.done and now_s - self.moved_at_s >= STALL_AFTER_S
