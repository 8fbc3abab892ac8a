"""What ``watch`` knows: balloons as they were read, and whatever events said since.

Rules of this file:

* Nothing here asks or waits. What an event does not say has to be read again, and :meth:`World.take` says so.
* All that grows has an end: the newest events, and the newest points of each curve.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ..balloon_event import RESIZE_KINDS, BalloonEvent
from ..resize_progress import ResizeProgress

MOST_EVENTS: Final = 200
MOST_POINTS: Final = 600

_SIZES: Final = ("target_bytes", "actual_bytes", "held_frames", "resident_bytes", "reclaimed_bytes")
_CHATTY: Final = frozenset({"sizes", "statistics"})
_READ_AGAIN: Final = frozenset(
    (
        *("balloon-added", "balloon-changed", "connected", "disconnected", "negotiated", "state", "broken"),
        *("resize-settled", "resize-expired", "target-clamped", "events-lost"),
    )
)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a balloon's curves."""

    actual_bytes: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a guest said, and when it was heard."""

    view: Mapping[str, Any]
    heard_at_s: float

    def age_s(self, now_s: float) -> float:
        """How old it is now."""
        return float(self.view.get("age_s") or 0) + now_s - self.heard_at_s


class World:
    """What is known.

    Attributes:
        api: Where the daemon answers.
        balloons: As the API gives them, by name.
        events: The newest are last.
        lost: Why the daemon does not answer; None while it does.
    """

    def __init__(self, api: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self.api: Final = api
        self.balloons: dict[str, dict[str, Any]] = {}
        self.events: Final[deque[BalloonEvent]] = deque(maxlen=MOST_EVENTS)
        self.curves: Final[dict[str, deque[Point]]] = {}
        self.statistics: Final[dict[str, Statistics]] = {}
        self.progress: Final[dict[str, ResizeProgress]] = {}
        self.lost: str | None = None
        self.now_s: Final = now_s

    def read(self, balloons: Iterable[dict[str, Any]]) -> None:
        """Take in all balloons as they were read just now."""
        self.balloons = {balloon["name"]: balloon for balloon in balloons}
        for kept in (self.curves, self.statistics, self.progress):
            for name in kept.keys() - self.balloons.keys():
                kept.pop(name)
        for name, balloon in self.balloons.items():
            self._resizes(name, balloon["resize"], actual_bytes=balloon["actual_bytes"])

    def heard(self, name: str, view: Mapping[str, Any]) -> None:
        """Take in what a guest said of its memory."""
        self.statistics[name] = Statistics(view, self.now_s())

    def take(self, event: BalloonEvent) -> bool:
        """Take in an event; return whether balloons have to be read again."""
        if event.kind not in _CHATTY:
            self.events.append(event)
        if event.kind in ("balloon-removed", "balloon-retired"):
            self.balloons.pop(event.balloon or "", None)
        balloon = self.balloons.get(event.balloon or "")
        if balloon is not None:
            self._change(balloon, event)
        return event.kind in _READ_AGAIN

    def sample(self) -> None:
        """Add a point to each curve."""
        for name, balloon in self.balloons.items():
            curve = self.curves.setdefault(name, deque(maxlen=MOST_POINTS))
            curve.append(Point(balloon["actual_bytes"], balloon["resident_bytes"] or 0))

    def _change(self, balloon: dict[str, Any], event: BalloonEvent) -> None:
        name = balloon["name"]
        if event.kind == "sizes":
            balloon.update({key: event.data[key] for key in _SIZES if key in event.data})
        elif event.kind in RESIZE_KINDS and (resize := dict(event.member("resize"))):
            balloon["resize"] = resize
            balloon["target_bytes"] = resize.get("target_bytes", balloon["target_bytes"])
            if event.kind == "resize-begun":
                self._resizes(name, resize, at=event.at)
        elif event.kind == "statistics" and (said := event.member("statistics")):
            self.heard(name, said)
        if name in self.progress:
            self.progress[name] = self.progress[name].take(event)

    def _resizes(
        self, name: str, resize: Mapping[str, Any] | None, *, at: str | None = None, actual_bytes: int | None = None
    ) -> None:
        """Follow a resize that began just now (``at``) or is somewhere on its way, unless it is followed already."""
        if resize is None:
            self.progress.pop(name, None)
        elif name not in self.progress or self.progress[name].number != resize.get("id"):
            begun = ResizeProgress(name, resize["target_bytes"]).told(resize, at)
            self.progress[name] = begun if actual_bytes is None else replace(begun, actual_bytes=actual_bytes)
