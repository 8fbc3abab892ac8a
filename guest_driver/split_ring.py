"""The driver's half of a split virtqueue: virtio 1.4 sections 2.7.5 to 2.7.14.

Rules of this file:

* A descriptor and its available entry are stored before the index that publishes them (2.7.13.3), and a barrier stands
  between publishing and asking whether the device wants a kick (2.7.13.4).
* Every buffer has one descriptor: the balloon driver sends no other.
"""

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

from .errors import GuestModelError
from .ram import Ram


@dataclass(frozen=True, slots=True)
class RingAddresses:
    """Where the parts of a ring lie, in guest-physical addresses."""

    descriptor_table: int
    avail_ring: int
    used_ring: int


class DriverRing:
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
        self._free: Final = list(range(geometry.queue_size - 1, -1, -1))
        self._next_avail = 0
        self._kicked_avail = 0
        self._last_used = 0

    def add(self, address: int, length: int, *, device_writes: bool = False) -> int:
        """Make one buffer available; return its head.

        Raises:
            GuestModelError: The ring is full.
        """
        if not self._free:
            raise GuestModelError(f"a ring of {self.geometry.queue_size} is full")
        head = self._free.pop()
        flags = DescriptorFlag.WRITE if device_writes else DescriptorFlag(0)
        DESCRIPTOR.pack_into(self._table, head * DESCRIPTOR.size, Descriptor(address, length, flags, 0))
        self._avail[AVAIL_RING_WORD + self._next_avail % self.geometry.queue_size] = head
        self._next_avail = (self._next_avail + 1) & INDEX_MASK
        self._avail[IDX_WORD] = self._next_avail
        return head

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
        """
        if self._used[IDX_WORD] == self._last_used:
            return None
        head = self._used_elements[USED_RING_WORD32 + USED_ELEMENT_WORDS * (self._last_used % self.geometry.queue_size)]
        self._last_used = (self._last_used + 1) & INDEX_MASK
        self._free.append(head)
        if self._event_idx:
            # Whoever gets a buffer looks for another, so one that is used before this is seen is not missed.
            self._avail[self.geometry.used_event_word] = self._last_used
            full_barrier()
        return head

    def close(self) -> None:
        """Release the ring's views of guest memory."""
        for view in (self._avail, self._used, self._used_elements, self._table):
            view.release()
