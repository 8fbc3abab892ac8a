"""The driver's half of a ring without any of its care, as far as both formats have it in common."""

from abc import ABC, abstractmethod
from typing import Final, Literal, NamedTuple, TypeAlias

from ..ram import Ram
from ..rings import RingAreas

RingFormat: TypeAlias = Literal["split", "packed"]

FORMATS: Final[tuple[RingFormat, ...]] = ("split", "packed")


class Element(NamedTuple):
    """A descriptor, as far as both formats have it; the flags are NEXT, WRITE and INDIRECT, which they have alike."""

    addr: int
    length: int
    flags: int = 0


class RingByHand(ABC):
    """A ring in memory that is zeroed first.

    Args:
        ram: The guest's memory.
        areas: Where the ring lies.
        sizes: How long each of its areas is, in bytes.
        queue_size: Its entries.
    """

    def __init__(self, ram: Ram, areas: RingAreas, sizes: tuple[int, int, int], queue_size: int) -> None:
        self.areas: Final = areas
        self.queue_size: Final = queue_size
        self._ram: Final = ram
        self._sizes: Final = sizes
        for address, length in self.parts:
            ram.write(address, bytes(length))

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Address and length of each area, the device's own last."""
        return tuple(zip(self.areas, self._sizes, strict=True))

    @property
    @abstractmethod
    def device_parts(self) -> tuple[tuple[int, int], ...]:
        """Address and length of those that a device may write."""

    @property
    @abstractmethod
    def used_count(self) -> int:
        """How many buffers came back. Looked at once a lap of the ring, at least; adding buffers does."""

    @abstractmethod
    def add(self, *elements: Element) -> None:
        """Make one buffer available, in the next free entries as if all were, and keep the rules of the format."""

    @abstractmethod
    def add_again(self) -> None:
        """Make the buffer available once more that was last, whether it came back or not."""

    @abstractmethod
    def table(self, *elements: Element) -> bytes:
        """Return an indirect table of ``elements``, one behind the other."""

    @abstractmethod
    def close(self) -> None:
        """Release the views of memory."""
