"""What the service asks of a ring, whatever its format: ``split`` and ``packed`` say how each does it."""

from typing import Protocol

from .chain import Chain
from .state import RingState


class Ring(Protocol):
    """The device's half of one virtqueue."""

    @property
    def state(self) -> RingState:
        """From where the ring can go on; what was taken and not given back is the ring's again then."""

    def pop(self) -> Chain | None:
        """Take the next buffer that the driver made available; None if there is none."""

    def unpop(self) -> None:
        """Give the last buffer taken back to the ring."""

    def push(self, head: int, written_bytes: int = 0) -> None:
        """Return a buffer to the driver."""

    def should_notify(self) -> bool:
        """Say whether the driver wants an interrupt for what was pushed since this was last asked."""

    def enable_kicks(self) -> bool:
        """Ask for a kick at the next buffer; True if one arrived in the meantime."""

    def close(self) -> None:
        """Release every view of guest memory."""
