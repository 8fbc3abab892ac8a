"""What is told of one balloon, and how often.

Rules of this file:

* Sizes and statistics are told at most once a second, and always as they are then: nothing that stays is untold.
* What a driver or front-end can bring about as often as it likes is told within a :class:`Budget`, and the state that
  it came to is told in any case.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.resize import Resize
from ..balloon.statistics import Statistics
from ..clock import Clock
from ..events.budget import Budget
from ..events.log import EventLog
from ..events.pace import Pace
from .reports import Asked, resize_report, statistics_report
from .stalls import Stall


class Told(Asked, Protocol):
    """The balloon of which something is told."""

    @property
    def broken_reason(self) -> str | None:
        """What it did wrong."""

    @property
    def target_frames(self) -> int:
        """What the balloon is to hold."""

    @property
    def actual_frames(self) -> int:
        """What the driver says that it holds."""

    @property
    def held_frames(self) -> int:
        """What the map says that it holds."""

    @property
    def reclaimed_bytes(self) -> int:
        """What giving frames back has freed."""

    @property
    def statistics(self) -> Statistics | None:
        """What the guest last said of its memory."""


class Telling:
    """Tells of one balloon.

    Args:
        events: Who is told.
        name: The balloon's.
        clock: The time.
        balloon: The balloon itself.
    """

    def __init__(self, events: EventLog, name: str, clock: Clock, balloon: Told) -> None:
        self.name: Final = name
        self.sizes: Final = Pace(self._tell_sizes, clock.monotonic_s, _call_later)
        """Is to be told whenever a size may differ."""
        self.statistics: Final = Pace(self._tell_statistics, clock.monotonic_s, _call_later)
        self._state: Final = Pace(self._tell_state, clock.monotonic_s, _call_later)
        self._events: Final = events
        self._clock: Final = clock
        self._balloon: Final = balloon
        self._budget: Final = Budget(clock.monotonic_s)
        self._told_sizes: dict[str, int | None] = {}
        self._told_state: tuple[str, str | None] = ("waiting", None)

    def happened(self, kind: str, **data: Any) -> None:
        """Something happened that no guest can bring about at will."""
        self._events.publish(kind, self.name, **data)

    def resize(self, what: str, resize: Resize, stall: Stall | None) -> None:
        """A resize has come to something."""
        report = resize_report(resize, stall, self._clock.monotonic_s())
        self.happened(f"resize-{what}", resize=report)

    def brought_about(self, kind: str, **data: Any) -> None:
        """Something happened that a guest can bring about as often as it likes."""
        if self._budget.spend():
            if self._budget.untold:
                data["untold_before"], self._budget.untold = self._budget.untold, 0
            self.happened(kind, **data)

    def state_may_differ(self) -> None:
        """The balloon's state may be another one."""
        state = (self._balloon.state_name, self._balloon.broken_reason)
        if state == self._told_state:
            return
        if self._budget.spend():
            self._tell_state()
        else:
            self._state.later()

    def stop(self) -> None:
        """Tell no more."""
        for pace in (self.sizes, self.statistics, self._state):
            pace.stop()

    def _tell_state(self) -> None:
        state, reason = self._told_state = self._balloon.state_name, self._balloon.broken_reason
        self.happened("state", state=state, reason=reason)
        if state == "broken":
            self.happened("broken", reason=reason)

    def _tell_sizes(self) -> None:
        known = bool(self._balloon.memory.regions)
        sizes = {
            "target_bytes": self._balloon.target_frames * FRAME_BYTES,
            "actual_bytes": self._balloon.actual_frames * FRAME_BYTES,
            "held_frames": self._balloon.held_frames,
            "resident_bytes": self._balloon.memory.resident_bytes() if known else None,
            "reclaimed_bytes": self._balloon.reclaimed_bytes,
        }
        if sizes != self._told_sizes:  # a driver that finds no memory writes the same five times a second
            self._told_sizes = sizes
            self.happened("sizes", **sizes)

    def _tell_statistics(self) -> None:
        statistics = self._balloon.statistics
        if statistics is not None:
            self.happened("statistics", statistics=statistics_report(statistics, self._balloon, self._clock.now()))


def _call_later(delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(delay_s, call)
