"""How far a resize is, put together from events. Pure: each event gives the next state.

Rules of this file: time is the daemon's, as its events have it, so rate and estimate are right on any clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .balloon_event import RESIZE_KINDS, BalloonEvent
from .wording import time_of

_RATE_OVER_S: Final = 10.0
_MOST_SAMPLES: Final = 32


@dataclass(frozen=True, slots=True)
class ResizeProgress:
    """A resize of one balloon to ``target_bytes``, of which events tell.

    Attributes:
        number: Its number, once it has begun.
        from_bytes: Where it began.
        actual_bytes: Where it is.
        stalled: Why nothing moves; None while it does.
        samples: The newest sizes, as seconds and bytes.
    """

    name: str
    target_bytes: int
    number: int | None = None
    from_bytes: int | None = None
    actual_bytes: int | None = None
    stalled: str | None = None
    samples: tuple[tuple[float, int], ...] = ()

    def take(self, event: BalloonEvent) -> "ResizeProgress":
        """Return the progress after an event; events of others change nothing."""
        if event.balloon != self.name:
            return self
        if event.kind in RESIZE_KINDS:
            resize = event.member("resize")
            begins = event.kind == "resize-begun" and resize.get("target_bytes") == self.target_bytes
            if self.number is None and not begins:
                return self
            return self.told(resize, event.at)
        if event.kind == "sizes" and self.number is not None:
            return self._at(event.at, event.data.get("actual_bytes"))
        return self

    def told(self, resize: Mapping[str, Any], at: str | None = None) -> "ResizeProgress":
        """Return the progress as a resize has it, if it is this one."""
        if self.number is not None and resize.get("id") != self.number:
            return self
        stalled = resize.get("stalled")
        followed = self if self.number is not None else self._at(at, resize.get("from_bytes"))
        return replace(followed, number=resize.get("id"), from_bytes=resize.get("from_bytes"), stalled=stalled)

    def _at(self, at: str | None, actual_bytes: Any) -> "ResizeProgress":
        moment = time_of(at)
        if not isinstance(actual_bytes, int):
            return self
        if moment is None:
            return replace(self, actual_bytes=actual_bytes)
        now_s = moment.timestamp()
        samples = (*(old for old in self.samples if old[0] > now_s - _RATE_OVER_S), (now_s, actual_bytes))
        return replace(self, actual_bytes=actual_bytes, samples=samples[-_MOST_SAMPLES:])

    @property
    def share(self) -> float:
        """How much of the way is done, from 0 to 1."""
        if self.from_bytes is None or self.actual_bytes is None:
            return 0.0
        way = self.target_bytes - self.from_bytes
        return 1.0 if way == 0 else min(max((self.actual_bytes - self.from_bytes) / way, 0.0), 1.0)

    @property
    def rate_bytes_per_s(self) -> float:
        """How fast it comes nearer to the target; 0 where it does not, or nobody knows."""
        if len(self.samples) < 2 or self.stalled is not None:
            return 0.0
        (begun_s, first), (now_s, last) = self.samples[0], self.samples[-1]
        nearer = last - first if self.target_bytes >= (self.from_bytes or 0) else first - last
        return max(nearer, 0) / (now_s - begun_s) if now_s > begun_s else 0.0

    @property
    def remaining_s(self) -> float | None:
        """How long it takes yet at this rate; None where nobody knows."""
        rate = self.rate_bytes_per_s
        if self.actual_bytes is None or rate == 0:
            return None
        return abs(self.target_bytes - self.actual_bytes) / rate
