"""The driver's half of a packed ring, written by hand: nothing keeps it from breaking a rule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from protocol.packed_ring import (
    AVAILABLE_TURN,
    DESCRIPTOR_WORDS,
    EVENT_FLAGS_WORD,
    FLAGS_WORD,
    OFF_WRAP_WORD,
    PACKED_DESCRIPTOR,
    RING_START,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
)
from vballoond.memory.guest_memory import GuestMemory
from vballoond.virtqueue.packed import PackedRing, PackedRingParts

from .memory_files import guest_memory

NEXT: Final = int(PackedFlag.NEXT)
WRITE: Final = int(PackedFlag.WRITE)
INDIRECT: Final = int(PackedFlag.INDIRECT)

MEMORY_BYTES: Final = 1 << 20
RING: Final = 0x1000
DRIVER_EVENT: Final = 0x4000
DEVICE_EVENT: Final = 0x4004
DATA: Final = 0x8000
"""Where the parts of the ring lie, and where there is room for buffers."""


class HandPackedRing:
    """A fresh ring of up to 256 entries, and the device that serves it.

    Args:
        memory: One region from guest address and user address 0.
        size: Entries of the ring.
        options: Of :class:`PackedRing`.
    """

    def __init__(self, memory: GuestMemory, size: int, **options: Any) -> None:
        self.memory = memory
        self.size = size
        self.next_avail = RING_START
        geometry = PackedRingGeometry(size)
        self._ring = memory.user_view(RING, geometry.descriptor_ring_bytes)
        self._words = memory.user_view(RING, geometry.descriptor_ring_bytes).cast("H")
        self.driver_event = memory.user_view(DRIVER_EVENT, geometry.driver_event_bytes).cast("H")
        self._device_event = memory.user_view(DEVICE_EVENT, geometry.device_event_bytes).cast("H")
        parts = PackedRingParts(
            memory.user_view(RING, geometry.descriptor_ring_bytes),
            memory.user_view(DRIVER_EVENT, geometry.driver_event_bytes),
            memory.user_view(DEVICE_EVENT, geometry.device_event_bytes),
        )
        self.device = PackedRing(geometry, parts, memory, **options)

    @property
    def device_event(self) -> tuple[int, int]:
        """When the device wants a kick: off_wrap and flags."""
        return self._device_event[OFF_WRAP_WORD], self._device_event[EVENT_FLAGS_WORD]

    def ask_for_interrupt(self, flags: int, off_wrap: int = 0) -> None:
        """Write the driver's event area."""
        self.driver_event[OFF_WRAP_WORD], self.driver_event[EVENT_FLAGS_WORD] = off_wrap, flags

    def describe(self, offset: int, addr: int, length: int, buffer_id: int, flags: int) -> None:
        """Write a descriptor, with these flags and no others."""
        PACKED_DESCRIPTOR.pack_into(
            self._ring, offset * PACKED_DESCRIPTOR.size, PackedDescriptor(addr, length, buffer_id, flags)
        )

    def offer(self, buffer_id: int, *elements: tuple[int, int, int]) -> None:
        """Make a list of (address, length, flags) available; only its last descriptor has the id."""
        last = len(elements) - 1
        for number in range(last, -1, -1):
            offset, wrap = self.next_avail.moved(number, self.size)
            address, length, flags = elements[number]
            flags |= AVAILABLE_TURN[wrap] | (NEXT if number < last else 0)
            self.describe(offset, address, length, buffer_id if number == last else 0xBAD, flags)
        self.next_avail = self.next_avail.moved(len(elements), self.size)

    def serve(self, count: int = 1) -> None:
        """Have the device take buffers and return them, in the order in which they come."""
        for _ in range(count):
            chain = self.device.pop()
            assert chain is not None
            self.device.push(chain.head)

    def go_round(self, count: int) -> None:
        """Have ``count`` buffers of one descriptor served, so that the next is at that position of two laps."""
        for _ in range(count):
            self.offer(1, (DATA, 4, 0))
            self.serve()
        self.device.should_notify()

    def flags(self, offset: int) -> int:
        """Read a descriptor's flags."""
        return self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD]

    def set_flags(self, offset: int, flags: int) -> None:
        """Write a descriptor's flags."""
        self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] = flags

    def descriptor(self, offset: int) -> PackedDescriptor:
        """Read a descriptor."""
        return PACKED_DESCRIPTOR.unpack_from(self._ring, offset * PACKED_DESCRIPTOR.size)

    def content(self) -> bytes:
        """Read the whole ring."""
        return bytes(self._ring)

    def write(self, address: int, data: bytes) -> int:
        """Write into guest memory; return how much."""
        with self.memory.user_view(address, len(data)) as view:
            view[:] = data
        return len(data)

    def close(self) -> None:
        """Let go of the memory."""
        self.device.close()
        for view in (self._ring, self._words, self.driver_event, self._device_event):
            view.release()


@contextmanager
def packed_by_hand(size: int = 7, **options: Any) -> Iterator[HandPackedRing]:
    """Set up a ring in memory of its own."""
    with guest_memory((0, MEMORY_BYTES)) as memory:
        ring = HandPackedRing(memory, size, **options)
        try:
            yield ring
        finally:
            ring.close()
