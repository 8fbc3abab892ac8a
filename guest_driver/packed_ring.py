"""The driver's half of a packed virtqueue: virtio 1.4 section 2.8.

Rules of this file:

* Memory of the ring is zero before the device sees it (2.8.13), and the wrap counters start at 1 (2.8.1).
* A descriptor is stored before the flags word that makes it available (2.8.21.1), and a barrier stands between that and
  asking whether the device wants a kick (2.8.21.2).
* A buffer's descriptors lie one behind the other from the next position on, whatever its id: first those that the
  device reads, then those that it writes (2.8.17). The first one's flags are stored last: they make all available.
* A used descriptor stands for all of its buffer's, which are skipped (2.8.6). With IN_ORDER (2.8.8) it may stand for
  several buffers: it names the last of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.packed_ring import (
    AVAILABLE_TURN,
    DESCRIPTOR_WORDS,
    EVENT_FLAGS_MASK,
    EVENT_FLAGS_WORD,
    FLAGS_WORD,
    ID_WORD,
    OFF_WRAP_WORD,
    PACKED_DESCRIPTOR,
    RING_START,
    TURN_MASK,
    USED_TURN,
    EventFlag,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingPosition,
    need_event,
)
from protocol.shared_words import full_barrier, words16

from .buffers import BufferRing, Piece, check_pieces
from .errors import GuestModelError
from .ram import Ram

_BODY_BYTES: Final = PACKED_DESCRIPTOR.offset_of("flags")


@dataclass(frozen=True, slots=True)
class PackedRingAddresses:
    """Where the parts of a ring lie, in guest-physical addresses."""

    descriptor_ring: int
    driver_event: int
    device_event: int


class PackedDriverRing(BufferRing):
    """A packed ring from the driver's side.

    Args:
        ram: The guest's memory.
        geometry: The ring's sizes.
        addresses: Where its parts lie, each aligned as section 2.8.10.1 wants it.
        event_idx: Whether EVENT_IDX was negotiated.
    """

    def __init__(
        self, ram: Ram, geometry: PackedRingGeometry, addresses: PackedRingAddresses, *, event_idx: bool
    ) -> None:
        self.geometry: Final = geometry
        self.addresses: Final = addresses
        self._event_idx: Final = event_idx
        self._ring: Final = ram.view(addresses.descriptor_ring, geometry.descriptor_ring_bytes)
        driver_event = ram.view(addresses.driver_event, geometry.driver_event_bytes)
        device_event = ram.view(addresses.device_event, geometry.device_event_bytes)
        for part in (self._ring, driver_event, device_event):
            part[:] = bytes(len(part))
        self._words: Final = words16(self._ring)
        self._driver_event: Final = words16(driver_event)
        self._device_event: Final = words16(device_event)
        self.in_order = False
        """Whether IN_ORDER was negotiated; said before the first buffer is added."""
        self.num_free = geometry.queue_size
        """How many descriptors are in no buffer."""
        self._free_ids: Final = list(range(geometry.queue_size - 1, -1, -1))
        self._in_flight: Final[dict[int, int]] = {}
        """Descriptors of each buffer, by id, the one that was added first at first."""
        self._batch_end: int | None = None
        self._interrupts = True
        self._next_avail = self._next_used = RING_START
        self._unkicked = 0
        if event_idx:
            self._driver_event[OFF_WRAP_WORD] = self._next_used.word
            self._driver_event[EVENT_FLAGS_WORD] = EventFlag.DESC

    def disable_interrupts(self) -> None:
        """Ask the device not to notify of used buffers: a queue without a callback. It may do so all the same."""
        self._interrupts = False
        self._driver_event[EVENT_FLAGS_WORD] = EventFlag.DISABLE

    def add_chain(self, readable: Sequence[Piece], writable: Sequence[Piece]) -> int:
        """As :class:`BufferRing` says; return its id."""
        pieces = (*readable, *writable)
        check_pieces(pieces, num_free=self.num_free, queue_size=self.geometry.queue_size)
        buffer_id = self._free_ids.pop()
        for number in reversed(range(len(pieces))):
            flags = int(PackedFlag.WRITE) if number >= len(readable) else 0
            if number + 1 < len(pieces):
                flags |= PackedFlag.NEXT
            self._describe(self._next_avail.moved(number, self.geometry.queue_size), pieces[number], buffer_id, flags)
        self._in_flight[buffer_id] = len(pieces)
        self.num_free -= len(pieces)
        self._next_avail = self._next_avail.moved(len(pieces), self.geometry.queue_size)
        self._unkicked += len(pieces)
        return buffer_id

    def _describe(self, position: RingPosition, piece: Piece, buffer_id: int, flags: int) -> None:
        offset, wrap = position
        body = PACKED_DESCRIPTOR.pack(PackedDescriptor(*piece, buffer_id, 0))[:_BODY_BYTES]
        self._ring[offset * PACKED_DESCRIPTOR.size : offset * PACKED_DESCRIPTOR.size + _BODY_BYTES] = body
        self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] = flags | AVAILABLE_TURN[wrap]

    def should_kick(self) -> bool:
        """Say whether the device wants to hear of what was added since this was last asked."""
        moved, self._unkicked = self._unkicked, 0
        full_barrier()
        flags = self._device_event[EVENT_FLAGS_WORD] & EVENT_FLAGS_MASK
        if flags == EventFlag.DESC:
            return need_event(self._device_event[OFF_WRAP_WORD], self._next_avail, moved, self.geometry.queue_size)
        return flags != EventFlag.DISABLE

    def get_used(self) -> int | None:
        """Take back the next buffer that the device has used; return its id, or None.

        The device is asked for an interrupt at the one after it, as virtqueue_get_buf() does.

        Raises:
            GuestModelError: The device used what it was not given.
        """
        buffer_id = self._next_id()
        if buffer_id is None:
            return None
        length = self._in_flight.pop(buffer_id)
        self._next_used = self._next_used.moved(length, self.geometry.queue_size)
        self._free_ids.append(buffer_id)
        self.num_free += length
        if self._event_idx and self._interrupts:
            # Whoever gets a buffer looks for another, so one that is used before this is seen is not missed.
            self._driver_event[OFF_WRAP_WORD] = self._next_used.word
            full_barrier()
        return buffer_id

    def _next_id(self) -> int | None:
        if self._batch_end is None:
            offset, wrap = self._next_used
            if self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] & TURN_MASK != USED_TURN[wrap]:
                return None
            used = self._words[offset * DESCRIPTOR_WORDS + ID_WORD]
            if used not in self._in_flight:
                raise GuestModelError(f"the device used buffer {used}, which it was not given")
            if not self.in_order:
                return used
            self._batch_end = used
        buffer_id = next(iter(self._in_flight))
        if buffer_id == self._batch_end:
            self._batch_end = None
        return buffer_id

    def close(self) -> None:
        """Release the ring's views of guest memory."""
        for view in (self._words, self._driver_event, self._device_event, self._ring):
            view.release()
