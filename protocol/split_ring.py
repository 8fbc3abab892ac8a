"""The split virtqueue: its layouts, its size, and when an event is due.

Source: virtio 1.4 section 2.7. A ring of ``n`` entries has three parts, each contiguous in guest memory:

    ==================  ==========  =============  ======================================================
    part                alignment   size in bytes  content
    ==================  ==========  =============  ======================================================
    descriptor table    16          16 * n         ``n`` descriptors
    available ring      2           6 + 2 * n      flags, idx, ``n`` heads, used_event
    used ring           4           6 + 8 * n      flags, idx, ``n`` elements, avail_event
    ==================  ==========  =============  ======================================================

``flags``, ``idx`` and the event words are polled by the other side: they go through ``shared_words``.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

from construct import Int16ul, Int32ul, Int64ul

from .layout import Layout
from .virtio import MAX_QUEUE_SIZE

INDEX_MASK: Final = 0xFFFF  # ring indices run freely and wrap at 16 bits (section 2.7.6)


class DescriptorFlag(IntEnum):
    """Section 2.7.5. A descriptor's flags are a plain number, so unknown bits survive.

    Not an ``IntFlag``: its operators cost more than all else that is done with a descriptor.
    """

    NEXT = 1
    WRITE = 2
    INDIRECT = 4


class RingFlag(IntEnum):
    """Sections 2.7.6 and 2.7.8: the low bit of each ring's flags, meaningful only without EVENT_IDX."""

    NO_INTERRUPT = 1  # in the available ring: the driver asks not to be notified
    NO_NOTIFY = 1  # in the used ring: the device asks not to be notified


class Descriptor(NamedTuple):
    """Section 2.7.5: a piece of a buffer, ``addr`` in guest-physical bytes."""

    addr: int
    len: int
    flags: int
    next: int


class RingHeader(NamedTuple):
    """The head of both rings: ``flags`` and the free-running ``idx``."""

    flags: int
    idx: int


class UsedElement(NamedTuple):
    """Section 2.7.8: ``id`` is the head of the chain, ``len`` what the device wrote into it."""

    id: int
    len: int


DESCRIPTOR: Final = Layout(Descriptor, addr=Int64ul, len=Int32ul, flags=Int16ul, next=Int16ul)
RING_HEADER: Final = Layout(RingHeader, flags=Int16ul, idx=Int16ul)
USED_ELEMENT: Final = Layout(UsedElement, id=Int32ul, len=Int32ul)

_EVENT_WORD_BYTES: Final = 2
_AVAIL_ENTRY_BYTES: Final = 2

# Positions in a ring that is viewed as 16-bit words.
FLAGS_WORD: Final = RING_HEADER.offset_of("flags") // 2
IDX_WORD: Final = RING_HEADER.offset_of("idx") // 2
AVAIL_RING_WORD: Final = RING_HEADER.size // 2

# The used ring is viewed as 32-bit words for its elements: two words each, after the header.
USED_ELEMENT_WORDS: Final = USED_ELEMENT.size // 4
USED_RING_WORD32: Final = RING_HEADER.size // 4


@dataclass(frozen=True, slots=True)
class SplitRingGeometry:
    """Sizes and positions of the parts of a ring with ``queue_size`` entries.

    Raises:
        ValueError: The size is not a power of two from 1 to 32768 (section 2.7).
    """

    queue_size: int

    def __post_init__(self) -> None:
        size = self.queue_size
        if not 1 <= size <= MAX_QUEUE_SIZE or size & (size - 1):
            raise ValueError(f"queue size {size} is not a power of two from 1 to {MAX_QUEUE_SIZE}")

    @property
    def descriptor_table_bytes(self) -> int:
        """Size of the descriptor table; it is aligned to 16 bytes."""
        return DESCRIPTOR.size * self.queue_size

    @property
    def avail_ring_bytes(self) -> int:
        """Size of the available ring with its used_event; it is aligned to 2 bytes."""
        return RING_HEADER.size + _AVAIL_ENTRY_BYTES * self.queue_size + _EVENT_WORD_BYTES

    @property
    def used_ring_bytes(self) -> int:
        """Size of the used ring with its avail_event; it is aligned to 4 bytes."""
        return RING_HEADER.size + USED_ELEMENT.size * self.queue_size + _EVENT_WORD_BYTES

    @property
    def used_elements_end(self) -> int:
        """Where the elements of the used ring end: its header and they are whole 32-bit words."""
        return self.used_ring_bytes - _EVENT_WORD_BYTES

    @property
    def used_event_word(self) -> int:
        """Where the driver says when it wants an interrupt: the last word of the available ring."""
        return self.avail_ring_bytes // 2 - 1

    @property
    def avail_event_word(self) -> int:
        """Where the device says when it wants a kick: the last word of the used ring."""
        return self.used_ring_bytes // 2 - 1


DESCRIPTOR_TABLE_ALIGNMENT: Final = 16
AVAIL_RING_ALIGNMENT: Final = 2
USED_RING_ALIGNMENT: Final = 4


def need_event(event: int, new: int, old: int) -> bool:
    """Say whether moving an index from ``old`` to ``new`` passed ``event`` (sections 2.7.7 and 2.7.10, EVENT_IDX).

    All three run freely modulo 2**16. Moving by nothing passes nothing.
    """
    return (new - event - 1) & INDEX_MASK < (new - old) & INDEX_MASK
