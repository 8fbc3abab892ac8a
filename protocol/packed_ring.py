"""The packed virtqueue: its layouts, its size, positions in it, and when an event is due.

Source: virtio 1.4 section 2.8. A ring of ``n`` entries has three parts, each contiguous in guest memory:

    ==================  =========  =============  ============================================================
    part                alignment  size in bytes  content
    ==================  =========  =============  ============================================================
    descriptor ring     16         16 * n         ``n`` descriptors, which both sides write in turn
    driver event area   4          4              off_wrap, flags: when the driver wants an interrupt
    device event area   4          4              off_wrap, flags: when the device wants a kick
    ==================  =========  =============  ============================================================

A descriptor's ``flags`` and both words of the event areas are polled by the other side: they go through
``shared_words``.

The ring has no index in memory: each side counts for itself. While a ring is stopped, a vhost-user front-end keeps its
base: the next available position in the low half, the next used one in the high half, each an offset with its wrap
counter in bit 15. Positions come round, so after every second lap a ring stands where a fresh one does, and after the
first where both halves are the 0 that user-mode Linux sends for a fresh one. Bases must tell these apart, or the frames
of a balloon are forgotten when its guest is paused there. So a ring that was used and would go on at offset 0 says
that its used position is at the end of the lap before: offset ``n``. A front-end gives back what it was told.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from construct import Int16ul, Int32ul, Int64ul

from .layout import Layout
from .virtio import MAX_QUEUE_SIZE


class PackedFlag(IntEnum):
    """Section 2.8: the flags of a descriptor. Unknown bits survive."""

    NEXT = 1
    WRITE = 2
    INDIRECT = 4
    AVAIL = 1 << 7
    USED = 1 << 15


class EventFlag(IntEnum):
    """Section 2.8.10: the low two bits of an event area's flags. 3 is reserved."""

    ENABLE = 0
    DISABLE = 1
    DESC = 2  # only with EVENT_IDX: when the descriptor that off_wrap names is made available or used


class PackedDescriptor(NamedTuple):
    """Section 2.8.13: a piece of a buffer, or, in a used one, the buffer ``id`` with ``len`` written bytes."""

    addr: int
    len: int
    id: int
    flags: int


class EventArea(NamedTuple):
    """Section 2.8.14: ``off_wrap`` is an offset in bits 0 to 14 with a wrap counter in bit 15."""

    off_wrap: int
    flags: int


PACKED_DESCRIPTOR: Final = Layout(PackedDescriptor, addr=Int64ul, len=Int32ul, id=Int16ul, flags=Int16ul)
EVENT_AREA: Final = Layout(EventArea, off_wrap=Int16ul, flags=Int16ul)

# A descriptor is available, or used, when these two bits of its flags are as the side's wrap counter (0 or 1) says.
TURN_MASK: Final = int(PackedFlag.AVAIL | PackedFlag.USED)
AVAILABLE_TURN: Final = (int(PackedFlag.USED), int(PackedFlag.AVAIL))
USED_TURN: Final = (0, TURN_MASK)

# Positions in a ring that is viewed as 16-bit words: those of descriptor i begin at i times DESCRIPTOR_WORDS.
DESCRIPTOR_WORDS: Final = PACKED_DESCRIPTOR.size // 2
ID_WORD: Final = PACKED_DESCRIPTOR.offset_of("id") // 2
FLAGS_WORD: Final = PACKED_DESCRIPTOR.offset_of("flags") // 2

# The same in a ring that is viewed as 32-bit words.
DESCRIPTOR_WORDS32: Final = PACKED_DESCRIPTOR.size // 4
LEN_WORD32: Final = PACKED_DESCRIPTOR.offset_of("len") // 4

# Positions in an event area that is viewed as 16-bit words.
OFF_WRAP_WORD: Final = EVENT_AREA.offset_of("off_wrap") // 2
EVENT_FLAGS_WORD: Final = EVENT_AREA.offset_of("flags") // 2
EVENT_FLAGS_MASK: Final = 3

DESCRIPTOR_RING_ALIGNMENT: Final = 16
EVENT_AREA_ALIGNMENT: Final = 4

_OFF_MASK: Final = 0x7FFF
_WRAP_SHIFT: Final = 15
_WORD_BITS: Final = 16


class RingPosition(NamedTuple):
    """A place in a ring, and the wrap counter (0 or 1) of the lap: it changes at the end of the ring."""

    offset: int
    wrap: int

    @classmethod
    def of_word(cls, off_wrap: int) -> "RingPosition":
        """Take apart an event area's off_wrap, or half of a base."""
        return cls(off_wrap & _OFF_MASK, off_wrap >> _WRAP_SHIFT)

    @property
    def word(self) -> int:
        """The position as an off_wrap."""
        return self.offset | self.wrap << _WRAP_SHIFT

    def moved(self, count: int, queue_size: int) -> "RingPosition":
        """Return the position ``count`` descriptors further on, or back where it is negative."""
        laps, offset = divmod(self.offset + count, queue_size)
        return RingPosition(offset, (self.wrap + laps) % 2)

    def ahead_of(self, other: "RingPosition", queue_size: int) -> int:
        """Return by how many descriptors; what is not from 0 to the queue size is no distance within a lap."""
        return self.offset - other.offset + (queue_size if self.wrap != other.wrap else 0)


RING_START: Final = RingPosition(0, 1)
"""Wrap counters start at 1 (section 2.8.1)."""


class RingBase(NamedTuple):
    """Where a ring stands: both positions, and whether it is ``fresh``, so that nothing of it was ever used."""

    avail: RingPosition
    used: RingPosition
    fresh: bool


FRESH_BASE: Final = RING_START.word << _WORD_BITS | RING_START.word


def decode_base(base: int, queue_size: int) -> RingBase:
    """Take apart the base that a front-end gives. 0 is a fresh ring as well: user-mode Linux sends nothing else.

    A ring of 32768 entries, which user-mode Linux does not make, has an end that does not fit into a base. So 0 is a
    position there, and a ring that went round twice is taken for a fresh one, as a split ring is after 65536 buffers.

    Raises:
        ValueError: The position is not in a ring of this size.
    """
    if not base and queue_size <= _OFF_MASK:
        base = FRESH_BASE
    avail, said = RingPosition.of_word(base & 0xFFFF), RingPosition.of_word(base >> _WORD_BITS)
    used = said.moved(0, queue_size)
    inside = 0 <= base >> _WORD_BITS <= 0xFFFF and avail.offset < queue_size and said.offset <= queue_size
    if not inside or not 0 <= avail.ahead_of(used, queue_size) <= queue_size:
        raise ValueError(f"position {base:#x} is not in a packed ring of {queue_size}")
    return RingBase(avail, used, base == FRESH_BASE)


def encode_base(base: RingBase, queue_size: int) -> int:
    """Return the position as a front-end is told; see the top of this file for what it says of a ring that was used."""
    used = base.used
    if not base.fresh and used.offset == 0 and queue_size <= _OFF_MASK:
        used = RingPosition(queue_size, used.wrap ^ 1)
    return used.word << _WORD_BITS | base.avail.word


@dataclass(frozen=True, slots=True)
class PackedRingGeometry:
    """Sizes of the parts of a ring with ``queue_size`` entries.

    Raises:
        ValueError: The size is not from 1 to 32768 (section 2.8); it need not be a power of two.
    """

    queue_size: int

    def __post_init__(self) -> None:
        if not 1 <= self.queue_size <= MAX_QUEUE_SIZE:
            raise ValueError(f"queue size {self.queue_size} of a packed ring is not from 1 to {MAX_QUEUE_SIZE}")

    @property
    def descriptor_ring_bytes(self) -> int:
        """Size of the descriptor ring; it is aligned to 16 bytes."""
        return PACKED_DESCRIPTOR.size * self.queue_size

    @property
    def driver_event_bytes(self) -> int:
        """Size of the driver event area; it is aligned to 4 bytes."""
        return EVENT_AREA.size

    @property
    def device_event_bytes(self) -> int:
        """Size of the device event area; it is aligned to 4 bytes."""
        return EVENT_AREA.size


def need_event(off_wrap: int, new: RingPosition, moved: int, queue_size: int) -> bool:
    """Say whether moving by ``moved`` descriptors to ``new`` passed the one that ``off_wrap`` names (section 2.8.10).

    Moving by nothing passes nothing. A descriptor that is not in the ring is passed by every move: a wake-up too many
    costs little, and one that never comes hangs a driver.
    """
    event = RingPosition.of_word(off_wrap)
    if event.offset >= queue_size:
        return moved > 0
    return 0 < new.ahead_of(event, queue_size) <= moved
