"""A resize: from a target that was set until the guest has reached it, or it is over for another reason.

Rules of this file:

* Pure: it is told sizes and times. Reached means that the driver's ``actual`` equals the target and the frame map
  agrees.
* Times in seconds are the caller's monotonic clock. What people are shown is counted from the one reading of the wall
  clock at the beginning, so a clock that is set meanwhile makes no resize end before it began.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES

STALL_AFTER_S: Final = 4.0
"""ChromeOS calls a balloon stalled that moves too little for this long (vm_tools/concierge/mm/balloon.cc). Linux sends
a request every 200 ms at the least while it finds any memory."""

MAX_DEADLINE_S: Final = 86400.0

_RATE_WINDOW_S: Final = 1.0
_SHORTEST_SAMPLE_S: Final = 0.001
_RATE_KEEPS_S: Final = 2.0  # a balloon that has not moved for this long has no rate


class Outcome(Enum):
    """How a resize ended."""

    DONE = "done"
    SUPERSEDED = "superseded"
    """Another target was set meanwhile."""
    SETTLED = "settled"
    """It got no further, and the target was moved to what it had reached."""
    EXPIRED = "expired"
    """Its deadline passed. The target stays, and the driver goes on trying."""


class Author(Enum):
    """Who set the target."""

    OPERATOR = "operator"
    """Somebody, with whatever client."""
    POLICY = "policy"
    DAEMON = "daemon"
    """It cut the target to what there is, gave everything back, or goes on after a restart."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to become of a resize that gets no further.

    Attributes:
        settle: The target is moved to what was reached: at the deadline, or without one, at the first stall that is the
            guest's.
        deadline_s: It is over this long after it was begun; None: never.
    """

    settle: bool = False
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """One resize and how it goes."""

    id: int
    target_frames: int
    from_frames: int
    started_at: datetime
    started_at_s: float
    actual_frames: int
    moved_at_s: float
    sampled_at_s: float
    sampled_frames: int
    terms: Terms = Terms()
    by: Author = Author.OPERATOR
    rate_frames_per_s: float = 0.0
    outcome: Outcome | None = None
    ended_at_s: float | None = None

    @classmethod
    def begin(
        cls,
        number: int,
        target_frames: int,
        actual_frames: int,
        now: datetime,
        now_s: float,
        terms: Terms = Terms(),
        by: Author = Author.OPERATOR,
    ) -> "Resize":
        """Start a resize towards ``target_frames``."""
        at = (now, now_s)
        return cls(number, target_frames, actual_frames, *at, actual_frames, now_s, now_s, actual_frames, terms, by)

    @property
    def done(self) -> bool:
        """Whether the target was reached."""
        return self.outcome is Outcome.DONE

    @property
    def over(self) -> bool:
        """Whether it has ended, however it did."""
        return self.outcome is not None

    def observe(self, actual_frames: int, held_frames: int, now_s: float) -> "Resize":
        """Take in what driver and map say now."""
        if self.over:
            return self
        moved_at_s = now_s if actual_frames != self.actual_frames else self.moved_at_s
        observed = replace(self, actual_frames=actual_frames, moved_at_s=moved_at_s)
        if actual_frames == held_frames == self.target_frames:
            observed = observed.end(Outcome.DONE, now_s)
        elapsed_s = now_s - self.sampled_at_s
        if elapsed_s < _RATE_WINDOW_S and not observed.done:
            return observed
        if elapsed_s < _SHORTEST_SAMPLE_S:
            # The end came right behind a sample: a rate over next to nothing would say nothing.
            return observed
        rate = abs(actual_frames - self.sampled_frames) / elapsed_s
        return replace(observed, rate_frames_per_s=rate, sampled_at_s=now_s, sampled_frames=actual_frames)

    def end(self, outcome: Outcome, now_s: float) -> "Resize":
        """Return it as one that is over; where it is already, it stays as it ended."""
        return self if self.over else replace(self, outcome=outcome, ended_at_s=now_s)

    def late(self, now_s: float) -> bool:
        """Say whether its deadline has passed without its having ended."""
        deadline_s = self.terms.deadline_s
        return not self.over and deadline_s is not None and now_s - self.started_at_s >= deadline_s

    def rate_bytes_per_s(self, now_s: float | None = None) -> int:
        """How fast the balloon moved over the last second or so; once over, over its last stretch.

        Args:
            now_s: The time, by which a balloon that has stood still for long has no rate.
        """
        still = not self.over and now_s is not None and now_s - self.moved_at_s >= _RATE_KEEPS_S
        return 0 if still else round(self.rate_frames_per_s * FRAME_BYTES)

    def progress(self) -> float:
        """How much of the way is done, from 0 to 1. A balloon that went the other way has done none."""
        way = self.target_frames - self.from_frames
        if self.done or not way:
            return 1.0 if self.done or self.actual_frames == self.target_frames else 0.0
        return min(1.0, max(0.0, (self.actual_frames - self.from_frames) / way))

    def expected_at(self, now_s: float) -> datetime | None:
        """When it is done if it goes on as now; None where it is over, or nothing moves."""
        rate = self.rate_bytes_per_s(now_s)
        if self.over or not rate:
            return None
        left_s = abs(self.target_frames - self.actual_frames) * FRAME_BYTES / rate
        return self.at(now_s + left_s)

    def at(self, now_s: float) -> datetime:
        """Return a time of the monotonic clock as people read it."""
        try:
            return self.started_at + timedelta(seconds=now_s - self.started_at_s)
        except OverflowError:
            return datetime.max.replace(tzinfo=self.started_at.tzinfo)

    def stalled(self, now_s: float) -> bool:
        """Say whether nothing has moved for too long."""
        return not self.over and now_s - self.moved_at_s >= STALL_AFTER_S
