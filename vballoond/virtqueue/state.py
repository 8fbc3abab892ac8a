"""Where a ring stands, as plain data: from it a ring goes on, after a pause or in another process.

Rules of this file:

* A device uses buffers in the order in which they came, so what was used ends at one point. All behind it is the
  ring's, also what the device had taken and not given back: it will take that again.
* A process can die between publishing a used buffer and writing down that it did. A split ring's used index tells,
  since it is in memory. A packed ring has none: what is about to be published is written down before (``publishing``),
  and the descriptor's flags tell whether it was: it is not what the driver made available there in that lap any more.
* Whoever reads a state back checks it against the ring (:func:`vballoond.transport.rings.open_ring`): it may be older
  than the memory, or written by a stranger.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RingState:
    """A point in the life of a ring.

    Attributes:
        base: The oldest buffer that was not given back, as a vhost-user front-end is told positions.
        used_idx: Of a split ring: the used index in memory when that was so; None: whatever it is now.
        publishing: Of a packed ring: at which place a used buffer is about to be published, and how many descriptors it
            skips (``packed.caught_up``); 0 where none is. It says nothing any more where ``base`` is another place.
    """

    base: int = 0
    used_idx: int | None = None
    publishing: int = 0


class RingRecord(Protocol):
    """Where a ring's state is kept while it changes. A call returns when it is written, and does not fail."""

    def publishing(self, mark: int) -> None:
        """A used buffer is about to be published; ``mark`` is the state's ``publishing`` until it was."""

    def published(self, base: int) -> None:
        """It was; the ring stands at ``base`` now."""


class NoRecord:
    """Nobody goes on with the ring when this process is gone."""

    def publishing(self, mark: int) -> None:
        """Not written down."""

    def published(self, base: int) -> None:
        """Not written down."""
