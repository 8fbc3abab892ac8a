"""The steps between which another processor may do something: where a test lets it."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """Places in the interface where no spinlock is held."""

    DEQUEUE = "dequeue: begins"
    DEQUEUE_PICKED = "dequeue: has seen a page (only where it walks without lock)"
    DEQUEUE_DELETED = "dequeue: has taken a page off the list and holds its lock"
    DEQUEUE_UNLOCKED = "dequeue: has let go of the page lock"
    DEQUEUE_FOUND_NONE = "dequeue: has found no page"
    ISOLATE = "isolate: begins"
    ISOLATE_REFERENCED = "isolate: has taken a reference"
    ISOLATE_LOCKED = "isolate: has taken the page lock"
    ISOLATE_CHECKED = "isolate: has found under the page lock that the page is the balloon's"
    ISOLATE_TAKEN = "isolate: has taken the page off the list"
    ISOLATE_REFUSED = "isolate: is about to let go of the reference"
    PUTBACK_LOCKED = "putback: has taken the page lock"
    PUTBACK_LISTED = "putback: has put the page on the list"


class Preemptible:
    """A device info that can be preempted."""

    preempt: Callable[[str], None] | None = None
    """Called between the steps with the name of each; it may do what another thread would."""

    def preempted(self, step: Step) -> None:
        """Let others run."""
        if self.preempt is not None:
            self.preempt(step)
