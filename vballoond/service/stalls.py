"""Why a resize does not move: what the daemon can tell from outside of the guest.

Rules of this file:

* A stall has a code for programs and a sentence for people. Neither has a number in it that changes by itself, so the
  same stall is told once.
* Linux's driver writes ``actual`` each 200 ms while it looks for memory in vain. So one that finds none is heard, and
  one whose VM is paused below running queues is not.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ..balloon.resize import Resize

Code = Literal["no-driver", "paused", "broken", "host-slow", "guest-silent", "guest-out-of-memory", "guest-slow"]

GUESTS_OWN: Final = frozenset[Code]({"guest-out-of-memory", "guest-slow"})
"""The driver is there and does what it can: waiting for more is in vain."""

SILENT_S: Final = 2.0
"""Of a driver that looks for memory something is heard ten times in this."""

SLOW_TURN_S: Final = 1.0
"""A turn on a queue takes a quarter of a millisecond. One that takes this long waits for the host."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Why nothing moves."""

    code: Code
    sentence: str


class Stalling(Protocol):
    """The balloon, as far as the reason shows in it."""

    @property
    def state_name(self) -> str:
        """Whether there is a driver, and how it does."""

    @property
    def broken_reason(self) -> str | None:
        """What it did wrong."""

    @property
    def actual_frames(self) -> int:
        """What it says that the balloon holds."""

    def turn_lasts_s(self) -> float:
        """For how long a request has been under way; 0: none is."""

    def silent_s(self) -> float:
        """For how long nothing was heard of the driver."""


_BY_STATE: Final[dict[str, Stall]] = {
    "waiting": Stall("no-driver", "no driver: no guest with a balloon driver has connected"),
    "paused": Stall("paused", "the guest's queues are stopped: its VM is paused or its driver was removed"),
}
_HOST_SLOW: Final = Stall("host-slow", "the host is slow to take memory back: one request has been under way for long")
_SILENT: Final = Stall("guest-silent", "nothing is heard of the guest: its VM is paused, or the guest hangs")
_OUT_OF_MEMORY: Final = Stall("guest-out-of-memory", "the guest finds no more free memory to give")
_KEEPS: Final = Stall("guest-slow", "the guest's driver does not take its memory back")
_DISAGREES: Final = Stall("guest-slow", "the driver says that it is done, but has not inflated what it says")


def find_stall(resize: Resize | None, balloon: Stalling, now_s: float) -> Stall | None:
    """Return why ``resize`` does not move; None while it does, or is over, or there is none."""
    if resize is None or resize.over:
        return None
    if balloon.state_name == "broken":
        return Stall("broken", f"broken by its driver: {balloon.broken_reason}")
    if (stall := _BY_STATE.get(balloon.state_name)) is not None:
        return stall
    return _of_a_driver(resize, balloon) if resize.stalled(now_s) else None


def _of_a_driver(resize: Resize, balloon: Stalling) -> Stall:
    if balloon.turn_lasts_s() >= SLOW_TURN_S:
        return _HOST_SLOW
    if balloon.silent_s() >= SILENT_S:
        return _SILENT
    if resize.target_frames == balloon.actual_frames:
        return _DISAGREES
    return _OUT_OF_MEMORY if resize.target_frames > balloon.actual_frames else _KEEPS
