"""What size a balloon is to have, and what becomes of each resize towards it.

Rules of this file:

* While a resize is open it is looked at once a second, and at its deadline: stalls are told when they begin and end,
  and what was to be settled is.
* Where the daemon moves a target by itself, since a guest is smaller than it or a resize settles, whoever keeps targets
  is told, so that it is not the old one that comes back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.resize import Author, Outcome, Resize, Terms
from ..clock import Clock
from .resizing import Resizing
from .stalls import GUESTS_OWN, Stall, Stalling, find_stall
from .telling import Telling

LOOK_S: Final = 1.0


class Sized(Stalling, Protocol):
    """The balloon that is to have a size."""

    @property
    def target_frames(self) -> int:
        """What it is to hold."""

    @property
    def held_frames(self) -> int:
        """What the map says that it holds."""

    def change_target(self, frames: int) -> None:
        """Tell the driver what it is to hold."""


class Target:
    """Sets the target of a balloon.

    Args:
        balloon: The balloon.
        clock: The time.
        telling: Is told of resizes and sizes.
        moved: Called where the daemon has moved the target by itself.
    """

    def __init__(self, balloon: Sized, clock: Clock, telling: Telling, moved: Callable[[], None]) -> None:
        self.resizing: Final = Resizing(clock)
        self.stalls: Final[Counter[str]] = Counter()
        """How many there were, by their code."""
        self._balloon: Final = balloon
        self._clock: Final = clock
        self._telling: Final = telling
        self._moved: Final = moved
        self._log: Final = structlog.get_logger().bind(balloon=telling.name)
        self._told: Stall | None = None
        self._look_handle: asyncio.TimerHandle | None = None

    def set(self, frames: int, terms: Terms = Terms(), by: Author = Author.OPERATOR) -> int:  # noqa: B008 (frozen)
        """Begin a resize; return its number. A driver that is not there yet finds the target when it comes."""
        before = self.resizing.current
        self._balloon.change_target(frames)
        number = self.begin(terms, by)
        superseded = None if before is None or before.over else self.resizing.find(before.id)
        if superseded is not None:
            self._say(superseded)
        return number

    def begin(self, terms: Terms = Terms(), by: Author = Author.DAEMON) -> int:  # noqa: B008 (frozen)
        """Begin a resize to the target that there is; return its number."""
        number = self.resizing.begin(self._balloon.target_frames, self._balloon.actual_frames, terms, by)
        self._told = None
        assert self.resizing.current is not None
        self._telling.resize("begun", self.resizing.current, None)
        self.observe()
        self._look_later()
        return number

    def clamp(self, limit_frames: int) -> None:
        """A target that was set before the memory was known may be more than there is: then it is all there is."""
        target_frames = self._balloon.target_frames
        if target_frames > limit_frames:
            sizes = {"target_bytes": target_frames * FRAME_BYTES, "limit_bytes": limit_frames * FRAME_BYTES}
            self._log.warning("target clamped", **sizes)
            self._telling.happened("target-clamped", **sizes)
            self.set(limit_frames, by=Author.DAEMON)
            self._moved()

    def observe(self) -> None:
        """Driver or map may say something new."""
        finished = self.resizing.observe(self._balloon.actual_frames, self._balloon.held_frames)
        self._telling.sizes.changed()
        if finished is not None:
            self._is_over(finished)

    def stall(self) -> Stall | None:
        """Return why the newest resize does not move; None while it does, or is over, or there is none."""
        return find_stall(self.resizing.current, self._balloon, self._clock.monotonic_s())

    def stop(self) -> None:
        """Look at no resize any more."""
        if self._look_handle is not None:
            self._look_handle.cancel()
            self._look_handle = None

    def _look_later(self) -> None:
        self.stop()
        resize = self.resizing.current
        if resize is None or resize.over:
            return
        wait_s = LOOK_S
        if resize.terms.deadline_s is not None:
            left_s = resize.started_at_s + resize.terms.deadline_s - self._clock.monotonic_s()
            wait_s = min(LOOK_S, max(0.0, left_s))
        self._look_handle = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._balloon.silent_s()  # looked at often, so that it is known when it was heard last
        resize, stall = self.resizing.current, self.stall()
        assert resize is not None
        self._tell_of(resize, stall)
        settles = stall is not None and stall.code in GUESTS_OWN and resize.terms == Terms(settle=True)
        if settles or resize.late(self._clock.monotonic_s()):
            self._give_up(resize)
        self._look_later()

    def _tell_of(self, resize: Resize, stall: Stall | None) -> None:
        if stall == self._told:
            return
        self._told = stall
        if stall is not None:
            self.stalls[stall.code] += 1
        self._telling.resize("moving" if stall is None else "stalled", resize, stall)

    def _give_up(self, resize: Resize) -> None:
        if not resize.terms.settle:
            self._is_over(self.resizing.end(Outcome.EXPIRED))
            return
        ended = self.resizing.end(Outcome.SETTLED)
        self._balloon.change_target(self._balloon.actual_frames)
        self._is_over(ended)
        self._moved()

    def _is_over(self, resize: Resize) -> None:
        self.stop()
        self._say(resize)

    def _say(self, resize: Resize) -> None:
        assert resize.outcome is not None
        assert resize.ended_at_s is not None
        self._telling.resize(resize.outcome.value, resize, None)
        self._log.info(
            f"resize {resize.outcome.value}",
            resize=resize.id,
            target_bytes=resize.target_frames * FRAME_BYTES,
            reached_bytes=resize.actual_frames * FRAME_BYTES,
            duration_s=round(resize.ended_at_s - resize.started_at_s, 6),
            rate_bytes_per_s=resize.rate_bytes_per_s(),
        )
