"""A queue of a balloon that runs: its ring, what it is for, and how its driver is told."""

from collections.abc import Callable
from dataclasses import dataclass

from protocol.balloon.queues import QueueRole

from ..virtqueue.split import SplitRing


@dataclass(slots=True)
class RunningQueue:
    """``kicked`` says that there may be buffers to take; every queue starts so, since a kick may have been missed."""

    role: QueueRole
    ring: SplitRing
    notify: Callable[[], None]
    kicked: bool = True

    def complete(self, head: int) -> None:
        """Return a buffer and notify the driver where it wants that. Nothing is ever written into a buffer."""
        self.ring.push(head)
        if self.ring.should_notify():
            self.notify()
