"""Making buffers available, whatever the format of the ring: what they are made of, and what they must be."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

from .errors import GuestModelError

Piece: TypeAlias = tuple[int, int]
"""Guest-physical address and length, in bytes."""


class BufferRing(ABC):
    """The driver's half of a ring, as far as it takes buffers."""

    @abstractmethod
    def add_chain(self, readable: Sequence[Piece], writable: Sequence[Piece]) -> int:
        """Make one buffer available of which the device reads some pieces and writes others.

        Returns:
            By what the device gives it back: the head of a split ring's chain, the id of a packed ring's buffer.

        Raises:
            GuestModelError: It has no pieces, or more than the ring has free descriptors; nothing was added then.
        """

    def add(self, address: int, length: int, *, device_writes: bool = False) -> int:
        """Make a buffer of one piece available; return what :meth:`add_chain` does.

        Raises:
            GuestModelError: The ring is full.
        """
        piece = ((address, length),)
        return self.add_chain((), piece) if device_writes else self.add_chain(piece, ())


def check_pieces(pieces: Sequence[Piece], *, num_free: int, queue_size: int) -> None:
    """Raise a GuestModelError where a buffer cannot be made of ``pieces`` with so many descriptors free."""
    if not pieces:
        raise GuestModelError("a buffer without any piece")
    if len(pieces) > num_free:
        raise GuestModelError(f"a ring of {queue_size} is full")
