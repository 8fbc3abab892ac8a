"""The driver's half of a split virtqueue: virtio 1.4 sections 2.7.5 to 2.7.14.

Rules of this file:

* A descriptor and its available entry are stored before the index that publishes them (2.7.13.3), and a barrier stands
  between publishing and asking whether the device wants a kick (2.7.13.4).
* A buffer's descriptors are chained, those that the device reads before those that it writes (2.7.4.2).
* With IN_ORDER (2.7.9), descriptors are used in the order of the table, and one used element may stand for several
  buffers: it names the last of them, and those before it are used too.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.shared_words import full_barrier, words16, words32
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
    RingFlag,
    SplitRingGeometry,
    need_event,
)

from .buffers import BufferRing, Piece, check_pieces
from .errors import GuestModelError
from .ram import Ram


@dataclass(frozen=True, slots=True)
class RingAddresses:
    """Where the parts of a ring lie, in guest-physical addresses."""

    descriptor_table: int
    avail_ring: int
    used_ring: int


class DriverRing(BufferRing):
    """A split ring from the driver's side.

    Args:
        ram: The guest's memory.
        geometry: The ring's sizes.
        addresses: Where its parts lie, each aligned as section 2.7 wants it.
        event_idx: Whether EVENT_IDX was negotiated.
    """

    def __init__(self, ram: Ram, geometry: SplitRingGeometry, addresses: RingAddresses, *, event_idx: bool) -> None:
        self.geometry: Final = geometry
        self.addresses: Final = addresses
        self._event_idx: Final = event_idx
        self._table: Final = ram.view(addresses.descriptor_table, geometry.descriptor_table_bytes)
        avail = ram.view(addresses.avail_ring, geometry.avail_ring_bytes)
        used = ram.view(addresses.used_ring, geometry.used_ring_bytes)
        avail[:] = bytes(len(avail))
        used[:] = bytes(len(used))
        self._avail: Final = words16(avail)
        self._used: Final = words16(used)
        self._used_elements: Final = words32(used[: geometry.used_elements_end])
        self.in_order = False
        """Whether IN_ORDER was negotiated; said before the first buffer is added."""
        self._free: Final = deque(range(geometry.queue_size))
        self._in_flight: Final[dict[int, Sequence[int]]] = {}
        self._next_avail = 0
        self._kicked_avail = 0
        self._last_used = 0
        self._batch_end: int | None = None
        self._interrupts = True

    @property
    def num_free(self) -> int:
        """How many descriptors are in no buffer."""
        return len(self._free)

    def disable_interrupts(self) -> None:
        """Ask the device not to notify of used buffers: a queue without a callback. It may do so all the same."""
        self._interrupts = False
        if not self._event_idx:
            self._avail[FLAGS_WORD] = RingFlag.NO_INTERRUPT

    def add_chain(self, readable: Sequence[Piece], writable: Sequence[Piece]) -> int:
        """As :class:`BufferRing` says; return its head."""
        pieces = (*readable, *writable)
        check_pieces(pieces, num_free=self.num_free, queue_size=self.geometry.queue_size)
        indices = [self._free.popleft() for _ in pieces]
        self._describe(indices, pieces, len(readable))
        head = indices[0]
        self._in_flight[head] = indices
        self._avail[AVAIL_RING_WORD + self._next_avail % self.geometry.queue_size] = head
        self._next_avail = (self._next_avail + 1) & INDEX_MASK
        self._avail[IDX_WORD] = self._next_avail
        return head

    def _describe(self, indices: Sequence[int], pieces: Sequence[Piece], readable: int) -> None:
        for number, (index, (address, length)) in enumerate(zip(indices, pieces, strict=True)):
            flags = 0 if number < readable else int(DescriptorFlag.WRITE)
            following = 0
            if number + 1 < len(indices):
                flags |= DescriptorFlag.NEXT
                following = indices[number + 1]
            DESCRIPTOR.pack_into(self._table, index * DESCRIPTOR.size, Descriptor(address, length, flags, following))

    def should_kick(self) -> bool:
        """Say whether the device wants to hear of what was added since this was last asked."""
        before, self._kicked_avail = self._kicked_avail, self._next_avail
        full_barrier()
        if self._event_idx:
            return need_event(self._used[self.geometry.avail_event_word], self._next_avail, before)
        return not self._used[FLAGS_WORD] & RingFlag.NO_NOTIFY

    def get_used(self) -> int | None:
        """Take back the next buffer that the device has used; return its head, or None.

        The device is asked for an interrupt at the one after it, as virtqueue_get_buf() does.

        Raises:
            GuestModelError: The device used what it was not given.
        """
        if self._used[IDX_WORD] == self._last_used:
            return None
        head = self._next_head()
        indices = self._in_flight.pop(head)
        # With IN_ORDER the table's order is kept; else the last freed is the next to be taken, as in Linux.
        if self.in_order:
            self._free.extend(indices)
        else:
            self._free.extendleft(reversed(indices))
        self._last_used = (self._last_used + 1) & INDEX_MASK
        if self._event_idx and self._interrupts:
            # Whoever gets a buffer looks for another, so one that is used before this is seen is not missed.
            self._avail[self.geometry.used_event_word] = self._last_used
            full_barrier()
        return head

    def _next_head(self) -> int:
        if self._batch_end is None:
            slot = USED_RING_WORD32 + USED_ELEMENT_WORDS * (self._last_used % self.geometry.queue_size)
            used = self._used_elements[slot]
            if used not in self._in_flight:
                raise GuestModelError(f"the device used buffer {used}, which it was not given")
            if not self.in_order:
                return used
            self._batch_end = used
        head = next(iter(self._in_flight))
        if head == self._batch_end:
            self._batch_end = None
        return head

    def close(self) -> None:
        """Release the ring's views of guest memory."""
        for view in (self._avail, self._used, self._used_elements, self._table):
            view.release()
