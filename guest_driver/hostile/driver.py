"""What a hostile driver works with: its memory, split rings that it writes by hand, the doorbells, the configuration.

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
from protocol.shared_words import words16
from protocol.split_ring import (
    AVAIL_RING_WORD,
    DESCRIPTOR,
    IDX_WORD,
    INDEX_MASK,
    Descriptor,
    DescriptorFlag,
    SplitRingGeometry,
)

from ..ram import Ram
from ..rings import RingAreas

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


class HandWrittenRing:
    """The driver's half of a split ring, without any of its care.

    Args:
        ram: The guest's memory.
        areas: Where the ring lies; zeroed.
        queue_size: Its entries.
    """

    def __init__(self, ram: Ram, areas: RingAreas, queue_size: int) -> None:
        self.areas: Final = areas
        self.geometry: Final = SplitRingGeometry(queue_size)
        for address, length in self.parts:
            ram.write(address, bytes(length))
        self._ram: Final = ram
        self._avail: Final = words16(ram.view(areas.driver_area, self.geometry.avail_ring_bytes))
        self._used: Final = words16(ram.view(areas.device_area, self.geometry.used_ring_bytes))

    @property
    def parts(self) -> tuple[tuple[int, int], ...]:
        """Address and length of each part, the device's own last."""
        sizes = self.geometry.descriptor_table_bytes, self.geometry.avail_ring_bytes, self.geometry.used_ring_bytes
        return tuple(zip(self.areas, sizes, strict=True))

    def describe(self, index: int, addr: int, length: int, flags: int = 0, following: int = 0) -> None:
        """Write a descriptor, behind the table's end too."""
        self._ram.write(
            self.areas.descriptors + index * DESCRIPTOR.size,
            DESCRIPTOR.pack(Descriptor(addr, length, flags, following)),
        )

    def offer(self, *heads: int) -> None:
        """Make chains available."""
        for head in heads:
            self._avail[AVAIL_RING_WORD + self.avail_idx % self.geometry.queue_size] = head
            self.avail_idx += 1

    @property
    def avail_idx(self) -> int:
        """The index that publishes available chains."""
        return self._avail[IDX_WORD]

    @avail_idx.setter
    def avail_idx(self, value: int) -> None:
        self._avail[IDX_WORD] = value & INDEX_MASK

    @property
    def used_idx(self) -> int:
        """The index that publishes used buffers; only a device may write it."""
        return self._used[IDX_WORD]

    @used_idx.setter
    def used_idx(self, value: int) -> None:
        self._used[IDX_WORD] = value & INDEX_MASK

    def close(self) -> None:
        """Release the views of memory."""
        self._avail.release()
        self._used.release()


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
    rings: Mapping[QueueRole, HandWrittenRing]
    kick: Callable[[QueueRole], None]
    write_config: Callable[[int, bytes], None]

    def send(self, role: QueueRole, *heads: int) -> None:
        """Make chains available and kick."""
        self.rings[role].offer(*heads)
        self.kick(role)

    def request(self, role: QueueRole, data: bytes, flags: int = 0) -> None:
        """Send one buffer with ``data`` in it."""
        self.ram.write(ROOM, data)
        self.one(role, ROOM, len(data), flags)

    def one(self, role: QueueRole, addr: int, length: int, flags: int = 0) -> None:
        """Send a chain of one descriptor."""
        self.rings[role].describe(0, addr, length, flags)
        self.send(role, 0)

    def indirect(self, *table: Descriptor) -> None:
        """Send an indirect table on the inflateq."""
        data = b"".join(map(DESCRIPTOR.pack, table))
        self.request(QueueRole.INFLATE, data, DescriptorFlag.INDIRECT)


def pfns(numbers: Iterable[int]) -> bytes:
    """Return the array that an inflate or deflate request carries."""
    return b"".join(PAGE_FRAME.pack(PageFrame(number)) for number in numbers)


def frames(memory: range) -> range:
    """Return the frames of a range of addresses."""
    return range(memory.start // FRAME_BYTES, memory.stop // FRAME_BYTES)
