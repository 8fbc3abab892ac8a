"""A queue of a balloon that runs: its ring, what it is for, and how its driver is told."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from protocol.balloon.queues import QueueRole

from ..virtqueue.ring import Ring


class Start(Enum):
    """How a queue comes to run."""

    AGAIN = "again"  # as it was set up before: it was disabled, or its memory changed
    RENEWED = "renewed"  # set up anew, to go on from where it was stopped
    FRESH = "fresh"  # set up anew, from position 0: by a driver that was just loaded


@dataclass(slots=True)
class RunningQueue:
    """``kicked`` says that there may be buffers to take; every queue starts so, since a kick may have been missed."""

    role: QueueRole
    ring: Ring
    notify: Callable[[], None]
    kicked: bool = True

    def complete(self, head: int) -> None:
        """Return a buffer and notify the driver where it wants that. Nothing is ever written into a buffer."""
        self.ring.push(head)
        if self.ring.should_notify():
            self.notify()
