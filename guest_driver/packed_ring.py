"""The driver's half of a packed virtqueue: virtio 1.4 section 2.8.

Rules of this file:

* Memory of the ring is zero before the device sees it (2.8.13), and the wrap counters start at 1 (2.8.1).
* A descriptor is stored before the flags word that makes it available (2.8.21.1), and a barrier stands between that and
  asking whether the device wants a kick (2.8.21.2).
* Every buffer has one descriptor: the balloon driver sends no other. It lies at the next position, whatever its id:
  ids come back in the order in which the device used them.
"""

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
    need_event,
)
from protocol.shared_words import full_barrier, words16

from .errors import GuestModelError
from .ram import Ram

_BODY_BYTES: Final = PACKED_DESCRIPTOR.offset_of("flags")


@dataclass(frozen=True, slots=True)
class PackedRingAddresses:
    """Where the parts of a ring lie, in guest-physical addresses."""

    descriptor_ring: int
    driver_event: int
    device_event: int


class PackedDriverRing:
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
        self._free: Final = list(range(geometry.queue_size - 1, -1, -1))
        self._next_avail = self._next_used = RING_START
        self._unkicked = 0
        if event_idx:
            self._driver_event[OFF_WRAP_WORD] = self._next_used.word
            self._driver_event[EVENT_FLAGS_WORD] = EventFlag.DESC

    def add(self, address: int, length: int, *, device_writes: bool = False) -> int:
        """Make one buffer available; return its id.

        Raises:
            GuestModelError: The ring is full.
        """
        if not self._free:
            raise GuestModelError(f"a ring of {self.geometry.queue_size} is full")
        head = self._free.pop()
        offset, wrap = self._next_avail
        body = PACKED_DESCRIPTOR.pack(PackedDescriptor(address, length, head, 0))[:_BODY_BYTES]
        self._ring[offset * PACKED_DESCRIPTOR.size : offset * PACKED_DESCRIPTOR.size + _BODY_BYTES] = body
        flags = int(PackedFlag.WRITE) if device_writes else 0
        self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] = flags | AVAILABLE_TURN[wrap]
        self._next_avail = self._next_avail.moved(1, self.geometry.queue_size)
        self._unkicked += 1
        return head

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
        """
        offset, wrap = self._next_used
        if self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] & TURN_MASK != USED_TURN[wrap]:
            return None
        head = self._words[offset * DESCRIPTOR_WORDS + ID_WORD]
        self._next_used = self._next_used.moved(1, self.geometry.queue_size)
        self._free.append(head)
        if self._event_idx:
            # Whoever gets a buffer looks for another, so one that is used before this is seen is not missed.
            self._driver_event[OFF_WRAP_WORD] = self._next_used.word
            full_barrier()
        return head

    def close(self) -> None:
        """Release the ring's views of guest memory."""
        for view in (self._words, self._driver_event, self._device_event, self._ring):
            view.release()
