"""A packed ring, written by hand."""

from collections import deque
from typing import Final

from protocol.packed_ring import (
    AVAILABLE_TURN,
    DESCRIPTOR_WORDS,
    EVENT_FLAGS_WORD,
    FLAGS_WORD,
    OFF_WRAP_WORD,
    PACKED_DESCRIPTOR,
    RING_START,
    TURN_MASK,
    USED_TURN,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingPosition,
)
from protocol.shared_words import words16

from ..ram import Ram
from ..rings import RingAreas
from .ring_by_hand import Element, RingByHand

_BODY_BYTES: Final = PACKED_DESCRIPTOR.offset_of("flags")


class PackedByHand(RingByHand):
    """A packed ring. See :class:`RingByHand` for the arguments."""

    def __init__(self, ram: Ram, areas: RingAreas, queue_size: int) -> None:
        geometry = PackedRingGeometry(queue_size)
        sizes = geometry.descriptor_ring_bytes, geometry.driver_event_bytes, geometry.device_event_bytes
        super().__init__(ram, areas, sizes, queue_size)
        self._ring: Final = ram.view(areas.descriptors, geometry.descriptor_ring_bytes)
        self._words: Final = words16(self._ring)
        self._driver_event: Final = words16(ram.view(areas.driver_area, geometry.driver_event_bytes))
        self._device_event: Final = words16(ram.view(areas.device_area, geometry.device_event_bytes))
        self._next_avail = self._next_used = RING_START
        self._next_id = 0
        self._last: tuple[Element, ...] = ()
        self._lengths: Final[deque[int]] = deque()  # of the lists that are not known to have come back
        self._used = 0

    @property
    def device_parts(self) -> tuple[tuple[int, int], ...]:
        """As :class:`RingByHand` says: all descriptors, and the device event area."""
        return self.parts[0], self.parts[2]

    @property
    def used_count(self) -> int:
        """As :class:`RingByHand` says."""
        self._take_back()
        return self._used

    def add(self, *elements: Element) -> None:
        """As :class:`RingByHand` says."""
        self.add_list(self._next_id, *elements)
        self._next_id = (self._next_id + 1) % self.queue_size

    def add_again(self) -> None:
        """As :class:`RingByHand` says."""
        self.add(*self._last)

    def add_list(self, buffer_id: int, *elements: Element) -> None:
        """Make a buffer with an id of choice available, over the end of the ring and over itself too."""
        self._take_back()
        for number in range(len(elements) - 1, -1, -1):
            position = self._next_avail.moved(number, self.queue_size)
            following = int(PackedFlag.NEXT) if number + 1 < len(elements) else 0
            self.describe(position, elements[number], buffer_id, following | AVAILABLE_TURN[position.wrap])
        self._lengths.append(len(elements))
        self._last = elements
        self._next_avail = self._next_avail.moved(len(elements), self.queue_size)

    def table(self, *elements: Element) -> bytes:
        """As :class:`RingByHand` says."""
        return b"".join(
            PACKED_DESCRIPTOR.pack(PackedDescriptor(*element[:2], 0, element.flags)) for element in elements
        )

    def describe(self, position: RingPosition, element: Element, buffer_id: int, more_flags: int) -> None:
        """Write the descriptor at a position, its flags last; ``more_flags`` are added to those of the element."""
        at = position.offset * PACKED_DESCRIPTOR.size
        body = PACKED_DESCRIPTOR.pack(PackedDescriptor(*element[:2], buffer_id, 0))[:_BODY_BYTES]
        self._ring[at : at + _BODY_BYTES] = body
        self.write_flags(position, element.flags | more_flags)

    def write_flags(self, position: RingPosition, flags: int) -> None:
        """Write the flags of a descriptor, and nothing else of it."""
        self._words[position.offset * DESCRIPTOR_WORDS + FLAGS_WORD] = flags

    def write_driver_event(self, off_wrap: int, flags: int) -> None:
        """Say when the driver wants to be notified."""
        self._driver_event[OFF_WRAP_WORD], self._driver_event[EVENT_FLAGS_WORD] = off_wrap, flags

    def write_device_event(self, off_wrap: int, flags: int) -> None:
        """Say when the device wants to be kicked, which is the device's to say."""
        self._device_event[OFF_WRAP_WORD], self._device_event[EVENT_FLAGS_WORD] = off_wrap, flags

    def _take_back(self) -> None:
        """Count what came back.

        A descriptor that is marked as used did only if the device marked it: then its length is 0, since a balloon
        writes nothing into buffers. What is marked by hand has another one.
        """
        while self._lengths:
            offset, wrap = self._next_used
            used = PACKED_DESCRIPTOR.unpack_from(self._ring, offset * PACKED_DESCRIPTOR.size)
            if used.flags & TURN_MASK != USED_TURN[wrap] or used.len:
                return
            self._next_used = self._next_used.moved(self._lengths.popleft(), self.queue_size)
            self._used += 1

    def close(self) -> None:
        """Release the views of memory."""
        for view in (self._words, self._ring, self._driver_event, self._device_event):
            view.release()
