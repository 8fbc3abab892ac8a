"""The driver's half of a split ring, written by hand: nothing keeps it from breaking a rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from protocol.split_ring import (
    AVAIL_RING_WORD,
    DESCRIPTOR,
    FLAGS_WORD,
    IDX_WORD,
    INDEX_MASK,
    USED_ELEMENT_WORDS,
    USED_RING_WORD32,
    Descriptor,
    DescriptorFlag,
    SplitRingGeometry,
    UsedElement,
)
from vballoond.memory.guest_memory import GuestMemory
from vballoond.virtqueue.split import SplitRing, SplitRingParts

from .memory_files import guest_memory

NEXT: Final = DescriptorFlag.NEXT
WRITE: Final = DescriptorFlag.WRITE
INDIRECT: Final = DescriptorFlag.INDIRECT

MEMORY_BYTES: Final = 1 << 20
TABLE: Final = 0x1000
AVAIL: Final = 0x2000
USED: Final = 0x3000
DATA: Final = 0x8000
"""Where the parts of the ring lie, and where there is room for buffers."""


class RawRing:
    """A ring of up to 256 entries at the bottom of guest memory, and the device that serves it.

    Args:
        memory: One region from guest address and user address 0.
        queue_size: Entries of the ring.
        options: Of :class:`SplitRing`.
    """

    def __init__(self, memory: GuestMemory, queue_size: int, **options: Any) -> None:
        self.memory = memory
        self.geometry = SplitRingGeometry(queue_size)
        self.table = memory.user_view(TABLE, self.geometry.descriptor_table_bytes)
        self.avail = memory.user_view(AVAIL, self.geometry.avail_ring_bytes).cast("H")
        self.used = memory.user_view(USED, self.geometry.used_ring_bytes).cast("H")
        self.used_elements = memory.user_view(USED, self.geometry.used_elements_end).cast("I")
        self.avail[IDX_WORD] = self.used[IDX_WORD] = options.get("next_avail", 0)
        self.device = self.open_device(**options)

    def open_device(self, **options: Any) -> SplitRing:
        """Have a device serve the ring as it is."""
        parts = SplitRingParts(
            self.memory.user_view(TABLE, self.geometry.descriptor_table_bytes),
            self.memory.user_view(AVAIL, self.geometry.avail_ring_bytes),
            self.memory.user_view(USED, self.geometry.used_ring_bytes),
        )
        return SplitRing(self.geometry, parts, self.memory, **options)

    def describe(self, index: int, addr: int, length: int, flags: int = 0, following: int = 0) -> None:
        """Write a descriptor of the table."""
        DESCRIPTOR.pack_into(self.table, index * DESCRIPTOR.size, Descriptor(addr, length, flags, following))

    def indirect_table(self, address: int, *descriptors: Descriptor) -> int:
        """Write an indirect table; return its length."""
        return self.write(address, b"".join(map(DESCRIPTOR.pack, descriptors)))

    def write(self, address: int, data: bytes) -> int:
        """Write into guest memory; return how much."""
        with self.memory.user_view(address, len(data)) as view:
            view[:] = data
        return len(data)

    def offer(self, *heads: int) -> None:
        """Make chains available."""
        for head in heads:
            self.avail[AVAIL_RING_WORD + self.avail_idx % self.geometry.queue_size] = head
            self.avail_idx += 1

    @property
    def avail_idx(self) -> int:
        """The index that publishes available chains."""
        return self.avail[IDX_WORD]

    @avail_idx.setter
    def avail_idx(self, value: int) -> None:
        self.avail[IDX_WORD] = value & INDEX_MASK

    @property
    def used_idx(self) -> int:
        """The index that publishes used elements."""
        return self.used[IDX_WORD]

    @used_idx.setter
    def used_idx(self, value: int) -> None:
        self.used[IDX_WORD] = value & INDEX_MASK

    def used_element(self, position: int) -> UsedElement:
        """Read the element at a ring position."""
        at = USED_RING_WORD32 + USED_ELEMENT_WORDS * (position % self.geometry.queue_size)
        return UsedElement(self.used_elements[at], self.used_elements[at + 1])

    def ask_for_interrupt_at(self, position: int) -> None:
        """Write used_event."""
        self.avail[self.geometry.used_event_word] = position

    def set_avail_flags(self, flags: int) -> None:
        """Write the flags of the available ring."""
        self.avail[FLAGS_WORD] = flags

    @property
    def used_flags(self) -> int:
        """The flags of the used ring."""
        return self.used[FLAGS_WORD]

    @used_flags.setter
    def used_flags(self, flags: int) -> None:
        self.used[FLAGS_WORD] = flags

    @property
    def avail_event(self) -> int:
        """Where the device wants a kick."""
        return self.used[self.geometry.avail_event_word]

    @avail_event.setter
    def avail_event(self, position: int) -> None:
        self.used[self.geometry.avail_event_word] = position

    def close(self) -> None:
        """Let go of the memory."""
        self.device.close()
        for view in (self.table, self.avail, self.used, self.used_elements):
            view.release()


@contextmanager
def raw_ring(queue_size: int = 8, **options: Any) -> Iterator[RawRing]:
    """Set up a ring in memory of its own."""
    with guest_memory((0, MEMORY_BYTES)) as memory:
        ring = RawRing(memory, queue_size, **options)
        try:
            yield ring
        finally:
            ring.close()
