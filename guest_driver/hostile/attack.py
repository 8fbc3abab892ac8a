"""An attack: a breach of one rule, and what a device that keeps its own rules makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.balloon.queues import QueueRole

from .driver import HostileDriver

Breach = Callable[[HostileDriver], None]

BREAKS: Final = None
"""For ``completes``: the device serves no more until it is set up again."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A breach, which is performed once on a driver whose queues run.

    Args:
        breach: Performs it.
        section: The section of virtio 1.4 that it breaks.
        role: The queue that it is made on.
        completes: How many buffers of that queue come back; :data:`BREAKS` where the balloon is to break.
        gives: The frames that it gives to the host by the way. No other may be taken.
        queue_size: Entries that each ring must have.
        indirect: Whether INDIRECT_DESC must be negotiated.
    """

    breach: Breach
    section: str
    role: QueueRole
    completes: int | None
    gives: range
    queue_size: int
    indirect: bool

    @property
    def name(self) -> str:
        """The rule, in short."""
        return self.breach.__name__


def attack(
    section: str,
    *,
    role: QueueRole = QueueRole.INFLATE,
    completes: int | None = BREAKS,
    gives: range = range(0),
    queue_size: int = 8,
    indirect: bool = True,
) -> Callable[[Breach], Attack]:
    """Make an :class:`Attack` of a function."""

    def make(breach: Breach) -> Attack:
        return Attack(breach, section, role, completes, gives, queue_size, indirect)

    return make
