"""What a hostile driver works with: its memory, rings that it writes by hand, the doorbells, the configuration.

Rules of this file:

* Nothing here keeps a rule of the specification, or checks what it is given: that is for the device to do.
* Guest-physical addresses are offsets in the memory file. Memory has a hole, and the file goes on behind its end, so
  that a device which leaves the memory finds something there to spoil.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME, PageFrame
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic
from protocol.split_ring import DescriptorFlag
from protocol.virtio import RingFeature

from ..ram import Ram
from ..rings import RingAreas
from .packed_by_hand import PackedByHand
from .ring_by_hand import Element, RingByHand
from .split_by_hand import SplitByHand

_MIB: Final = 1 << 20

LOWER: Final = range(8 * _MIB)
HOLE: Final = range(8 * _MIB, 12 * _MIB)
UPPER: Final = range(12 * _MIB, 16 * _MIB)
FILE_BYTES: Final = 20 * _MIB
"""Guest-physical memory is LOWER and UPPER; the file has the hole, and more behind the end."""

SPARE: Final = range((UPPER.stop >> 12) - 16, UPPER.stop >> 12)
"""The last frames of memory: what a hostile driver gives, as PFNs."""

ROOM: Final = 5 * _MIB
"""Where there is room for requests and indirect tables, up to the end of LOWER."""

_QUEUE_BYTES: Final = _MIB
_AVAIL_AT: Final = 0x80000
_USED_AT: Final = 0xA0000


def areas_of(index: int) -> RingAreas:
    """Return where the ring of a queue lies: a MiB for each holds the largest there is."""
    base = index * _QUEUE_BYTES
    return RingAreas(base, base + _AVAIL_AT, base + _USED_AT)


def ring_by_hand(ram: Ram, areas: RingAreas, queue_size: int, features: int) -> RingByHand:
    """Return an empty ring of the format that was negotiated."""
    made = PackedByHand if features & RingFeature.RING_PACKED else SplitByHand
    return made(ram, areas, queue_size)


@dataclass(frozen=True, slots=True)
class HostileDriver:
    """A driver in whose guest an attack runs.

    Args:
        ram: The guest's memory.
        rings: Its rings, set up and running.
        kick: Tells the device of a queue.
        write_config: Writes a piece of the configuration space.
    """

    ram: Ram
    rings: Mapping[QueueRole, RingByHand]
    kick: Callable[[QueueRole], None]
    write_config: Callable[[int, bytes], None]

    def split(self, role: QueueRole) -> SplitByHand:
        """Return a ring, for what is about split rings only."""
        ring = self.rings[role]
        assert isinstance(ring, SplitByHand)
        return ring

    def packed(self, role: QueueRole) -> PackedByHand:
        """Return a ring, for what is about packed rings only."""
        ring = self.rings[role]
        assert isinstance(ring, PackedByHand)
        return ring

    def chain(self, role: QueueRole, *elements: Element) -> None:
        """Send one buffer of several pieces."""
        self.rings[role].add(*elements)
        self.kick(role)

    def one(self, role: QueueRole, addr: int, length: int, flags: int = 0) -> None:
        """Send one buffer of one piece."""
        self.chain(role, Element(addr, length, flags))

    def many(self, role: QueueRole, element: Element, count: int) -> None:
        """Send the same piece in many buffers."""
        for _ in range(count):
            self.rings[role].add(element)
        self.kick(role)

    def request(self, role: QueueRole, data: bytes, flags: int = 0) -> None:
        """Send one buffer with ``data`` in it."""
        self.ram.write(ROOM, data)
        self.one(role, ROOM, len(data), flags)

    def indirect(self, table: bytes) -> None:
        """Send an indirect table on the inflateq."""
        self.request(QueueRole.INFLATE, table, DescriptorFlag.INDIRECT)

    def give_statistics(self) -> None:
        """Send a statistics buffer, which the device holds until it wants others."""
        self.request(QueueRole.STATS, STATISTIC.pack(Statistic(0, 0)))


def pfns(numbers: Iterable[int]) -> bytes:
    """Return the array that an inflate or deflate request carries."""
    return b"".join(PAGE_FRAME.pack(PageFrame(number)) for number in numbers)


def frames(memory: range) -> range:
    """Return the frames of a range of addresses."""
    return range(memory.start // FRAME_BYTES, memory.stop // FRAME_BYTES)
