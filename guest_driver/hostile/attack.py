"""An attack: a breach of one rule, and what a device that keeps its own rules makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature

from .driver import HostileDriver
from .ring_by_hand import FORMATS, RingFormat

Breach = Callable[[HostileDriver], None]

BREAKS: Final = None
"""For ``completes``: the device serves no more until it is set up again."""

SPLIT: Final[tuple[RingFormat, ...]] = ("split",)
PACKED: Final[tuple[RingFormat, ...]] = ("packed",)
"""For ``formats``: what only one of them knows."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A breach, which is performed once on a driver whose queues run.

    Args:
        breach: Performs it.
        section: The section of virtio 1.4 that it breaks; of each ring format its own, where they differ.
        formats: The ring formats that it is for.
        role: The queue that it is made on.
        completes: How many buffers of that queue come back; :data:`BREAKS` where the balloon is to break.
        gives: The frames that it gives to the host by the way. No other may be taken.
        queue_size: Entries that each ring must have.
        indirect: Whether INDIRECT_DESC must be negotiated.
        event_idx: Whether EVENT_IDX must be.
        held: Whether the device holds a statistics buffer by then (:meth:`HostileDriver.give_statistics`).
        races: Whether what comes of it depends on when the device looks: ``completes`` is of one that looks afterwards.
    """

    breach: Breach
    section: str
    formats: tuple[RingFormat, ...]
    role: QueueRole
    completes: int | None
    gives: range
    queue_size: int
    indirect: bool
    event_idx: bool
    held: bool
    races: bool

    @property
    def name(self) -> str:
        """The rule, in short."""
        return self.breach.__name__

    def features(self, ring: RingFormat) -> int:
        """Return which features of rings are negotiated for it."""
        wanted = {
            RingFeature.RING_PACKED: ring == "packed",
            RingFeature.INDIRECT_DESC: self.indirect,
            RingFeature.EVENT_IDX: self.event_idx,
        }
        return sum(feature for feature, negotiated in wanted.items() if negotiated)


def attack(
    section: str,
    *,
    formats: tuple[RingFormat, ...] = FORMATS,
    role: QueueRole = QueueRole.INFLATE,
    completes: int | None = BREAKS,
    gives: range = range(0),
    queue_size: int = 8,
    indirect: bool = True,
    event_idx: bool = False,
    held: bool = False,
    races: bool = False,
) -> Callable[[Breach], Attack]:
    """Make an :class:`Attack` of a function."""

    def make(breach: Breach) -> Attack:
        return Attack(
            breach=breach,
            section=section,
            formats=formats,
            role=role,
            completes=completes,
            gives=gives,
            queue_size=queue_size,
            indirect=indirect,
            event_idx=event_idx,
            held=held,
            races=races,
        )

    return make
