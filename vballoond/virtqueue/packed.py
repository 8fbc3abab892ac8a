"""The device's half of a packed virtqueue: virtio 1.4 section 2.8.

Rules of this file:

* Wrap counters start at 1 (2.8.1). A descriptor is available when its AVAIL flag equals the device's wrap counter and
  its USED flag does not, and it is not used before that (2.8.15). All descriptors of a list are (2.8.6): one that is
  not is a :class:`GuestError`.
* A descriptor's flags are loaded once, as one native word (``protocol.shared_words``, never struct), and only then the
  rest of it. A used descriptor's id and length are stored before the flags word that publishes it, and none is changed
  after that (2.8.15).
* A list is bounded by the queue size and by :data:`MAX_DESCRIPTORS`, readable elements before writable ones (2.8.17).
  Its id stands in its last descriptor. It is given back by one used descriptor, and the list's length is skipped
  (2.8.6). So the length is kept for each id in flight: an id is below the queue size and in flight once, and no more
  descriptors are in flight than the queue has.
* A used descriptor has the WRITE flag only if something was written: its length is valid only then (2.8.3, 2.8.4).
* An indirect descriptor is a list by itself (2.8.19). Its table is copied out once and is read from first to last: of
  its flags only WRITE counts and NEXT is ignored (2.8.7). INDIRECT is refused: who sets it means a table, which must
  not be taken for frames.
* Event areas (2.8.10): ENABLE, DISABLE, or DESC with EVENT_IDX. What a driver must not write there asks for a
  notification: that is harmless, and where it is read there is no one to break the ring for it. A barrier stands
  between publishing and looking at the driver's event area, and between asking for kicks and looking again for buffers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.packed_ring import (
    AVAILABLE_TURN,
    DESCRIPTOR_WORDS,
    DESCRIPTOR_WORDS32,
    EVENT_FLAGS_MASK,
    EVENT_FLAGS_WORD,
    FLAGS_WORD,
    FRESH_BASE,
    ID_WORD,
    LEN_WORD32,
    OFF_WRAP_WORD,
    PACKED_DESCRIPTOR,
    TURN_MASK,
    USED_TURN,
    EventFlag,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingBase,
    RingPosition,
    decode_base,
    encode_base,
    need_event,
)
from protocol.shared_words import full_barrier, words16, words32

from ..errors import GuestError
from ..memory.guest_memory import GuestMemory
from .chain import MAX_DESCRIPTORS, Chain, check_table_length, gather
from .order import AnyOrder, InOrder
from .state import NoRecord, RingRecord, RingState

_MARK_BITS: Final = 16
_MARK_MASK: Final = (1 << _MARK_BITS) - 1


@dataclass(frozen=True, slots=True)
class PackedRingParts:
    """Views of the three parts of a ring in guest memory; who makes a ring of them gives them away."""

    descriptor_ring: memoryview
    driver_event: memoryview
    device_event: memoryview

    def release(self) -> None:
        """Let go of the memory."""
        for view in (self.descriptor_ring, self.driver_event, self.device_event):
            view.release()


class PackedRing:
    """One packed ring, served by the device.

    Args:
        geometry: The sizes of the ring.
        parts: Its three parts, each exactly as long as ``geometry`` says; released by :meth:`close`.
        memory: Where indirect tables are read from.
        next_avail: The base to go on from, as a front-end gives it; see :func:`protocol.packed_ring.decode_base`.
        event_idx: Whether EVENT_IDX was negotiated.
        indirect: Whether INDIRECT_DESC was negotiated.
        in_order: Whether IN_ORDER was negotiated: buffers are used as they were made available (2.8.8).
        record: Where it is written down how far the ring is.

    Raises:
        ValueError: The base is not a position in the ring; the parts are released.
    """

    def __init__(
        self,
        geometry: PackedRingGeometry,
        parts: PackedRingParts,
        memory: GuestMemory,
        *,
        next_avail: int = FRESH_BASE,
        event_idx: bool = False,
        indirect: bool = False,
        in_order: bool = False,
        record: RingRecord | None = None,
    ) -> None:
        self._size: Final = geometry.queue_size
        try:
            self._next_avail, self._next_used, self._fresh = decode_base(next_avail, self._size)
        except ValueError:
            parts.release()
            raise
        self._memory: Final = memory
        self._event_idx: Final = event_idx
        self._indirect: Final = indirect
        self._parts: Final = parts
        self._ring: Final = parts.descriptor_ring
        self._words: Final = words16(parts.descriptor_ring)
        self._words32: Final = words32(parts.descriptor_ring)
        self._driver_event: Final = words16(parts.driver_event)
        self._device_event: Final = words16(parts.device_event)
        self._lengths: Final[dict[int, int]] = {}  # of the lists in flight, by id, in the order in which they came
        self._taken = 0  # descriptors of those lists
        self._in_flight = self._next_avail.ahead_of(self._next_used, self._size)
        self._unnotified = 0
        self._order: Final = InOrder() if in_order else AnyOrder()
        self._record: Final = record or NoRecord()

    @property
    def next_avail(self) -> int:
        """The base from which the ring can go on."""
        return encode_base(RingBase(self._next_avail, self._next_used, self._fresh), self._size)

    @property
    def state(self) -> RingState:
        """From where the ring can go on; what was taken and not given back is the ring's again then."""
        oldest = self._next_avail.moved(-self._taken, self._size)
        return RingState(encode_base(RingBase(oldest, self._next_used, self._fresh), self._size))

    def pop(self) -> Chain | None:
        """Take the next buffer that the driver made available; None if there is none.

        Raises:
            GuestError: The ring or the list breaks a rule; the position stays where it is.
        """
        taken = self._next_list()
        if not taken:
            return None
        buffer_id, length = taken[-1].id, len(taken)
        self._check(buffer_id, length)
        chain = gather(buffer_id, self._elements(taken))
        self._lengths[buffer_id] = length
        self._taken += length
        self._in_flight += length
        self._next_avail = self._next_avail.moved(length, self._size)
        self._order.taken(buffer_id)
        return chain

    def unpop(self) -> None:
        """Give the last buffer taken back to the ring, as if it had not been looked at."""
        _, length = self._lengths.popitem()
        self._taken -= length
        self._in_flight -= length
        self._next_avail = self._next_avail.moved(-length, self._size)
        self._order.untaken()

    def push(self, head: int, written_bytes: int = 0) -> None:
        """Return a buffer to the driver. :meth:`should_notify` says whether it wants to hear of it."""
        self._order.used(head)
        length = self._lengths.pop(head)
        self._record.publishing(_mark(self._next_used, length))
        offset, wrap = self._next_used
        self._words32[offset * DESCRIPTOR_WORDS32 + LEN_WORD32] = written_bytes
        self._words[offset * DESCRIPTOR_WORDS + ID_WORD] = head
        written = int(PackedFlag.WRITE) if written_bytes else 0
        self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] = USED_TURN[wrap] | written
        self._fresh = False
        self._taken -= length
        self._in_flight -= length
        self._unnotified += length
        self._next_used = self._next_used.moved(length, self._size)
        self._record.published(self.state.base)

    def should_notify(self) -> bool:
        """Say whether the driver wants an interrupt for what was pushed since this was last asked."""
        moved, self._unnotified = self._unnotified, 0
        if not moved:
            return False
        full_barrier()
        flags = self._driver_event[EVENT_FLAGS_WORD] & EVENT_FLAGS_MASK
        if flags == EventFlag.DESC and self._event_idx:
            return need_event(self._driver_event[OFF_WRAP_WORD], self._next_used, moved, self._size)
        return flags != EventFlag.DISABLE

    def enable_kicks(self) -> bool:
        """Ask for a kick at the next buffer; True if one arrived in the meantime and must be served without."""
        if self._event_idx:
            self._device_event[OFF_WRAP_WORD] = self._next_avail.word
            self._device_event[EVENT_FLAGS_WORD] = EventFlag.DESC
        else:
            self._device_event[EVENT_FLAGS_WORD] = EventFlag.ENABLE
        full_barrier()
        return self._descriptor(self._next_avail) is not None

    def close(self) -> None:
        """Release every view of guest memory, so that it can be unmapped. The ring cannot be used afterwards."""
        for view in (self._words, self._words32, self._driver_event, self._device_event):
            view.release()
        self._parts.release()

    def _descriptor(self, position: RingPosition) -> PackedDescriptor | None:
        """Read a descriptor; None if it is not available."""
        flags = self._words[position.offset * DESCRIPTOR_WORDS + FLAGS_WORD]
        if flags & TURN_MASK != AVAILABLE_TURN[position.wrap]:
            return None
        # What it says of the flags now is not looked at.
        descriptor = PACKED_DESCRIPTOR.unpack_from(self._ring, position.offset * PACKED_DESCRIPTOR.size)
        return descriptor._replace(flags=flags)

    def _next_list(self) -> list[PackedDescriptor]:
        """Read the list at the next position; empty if there is none."""
        taken: list[PackedDescriptor] = []
        bound = min(self._size, MAX_DESCRIPTORS)
        for count in range(bound):
            position = self._next_avail.moved(count, self._size)
            descriptor = self._descriptor(position)
            if descriptor is None:
                if taken:
                    raise GuestError(f"descriptor {position.offset}, number {count} of a list, is not available")
                return taken
            taken.append(descriptor)
            if not descriptor.flags & PackedFlag.NEXT:
                return taken
        raise GuestError(f"a list from descriptor {self._next_avail.offset} has more than {bound} descriptors")

    def _check(self, buffer_id: int, length: int) -> None:
        if buffer_id >= self._size:
            raise GuestError(f"buffer id {buffer_id} in a queue of {self._size}")
        if buffer_id in self._lengths:
            raise GuestError(f"buffer id {buffer_id} was made available again before it was used")
        if self._in_flight + length > self._size:
            raise GuestError(f"{self._in_flight + length} descriptors in flight in a queue of {self._size}")

    def _elements(self, taken: list[PackedDescriptor]) -> Iterable[PackedDescriptor]:
        """Return the elements of a list: its descriptors, or what is in the table of its only one."""
        if not any(descriptor.flags & PackedFlag.INDIRECT for descriptor in taken):
            return taken
        if not self._indirect:
            raise GuestError("an indirect descriptor, though INDIRECT_DESC was not negotiated")
        if len(taken) > 1:
            raise GuestError(f"an indirect descriptor in a list of {len(taken)}")
        return _indirect_table(taken[0], self._memory)


def caught_up(state: RingState, geometry: PackedRingGeometry, descriptor_ring: memoryview) -> int:
    """Return the base at which a ring goes on that may have died while it published a used buffer.

    Raises:
        ValueError: The state is none of this ring.
    """
    size = geometry.queue_size
    base = decode_base(state.base, size)
    place, length = state.publishing >> _MARK_BITS, state.publishing & _MARK_MASK
    if not 0 <= place <= _MARK_MASK or length > size:
        raise ValueError(f"a used buffer of {length} descriptors at {place:#x} in a packed ring of {size}")
    if not length or place != base.used.word:
        return state.base
    with words16(descriptor_ring) as words:
        flags = words[base.used.offset * DESCRIPTOR_WORDS + FLAGS_WORD]
    if flags & TURN_MASK == AVAILABLE_TURN[base.used.wrap]:
        return state.base
    # It is used, or the driver has even made it available again, for the next lap.
    avail, used = (position.moved(length, size) for position in (base.avail, base.used))
    return encode_base(RingBase(avail, used, fresh=False), size)


def _mark(used: RingPosition, length: int) -> int:
    """Return by which it is known that a used buffer of ``length`` descriptors is about to be published there."""
    return used.word << _MARK_BITS | length


def _indirect_table(descriptor: PackedDescriptor, memory: GuestMemory) -> list[PackedDescriptor]:
    check_table_length(descriptor.len)
    table = list(PACKED_DESCRIPTOR.iter_unpack(memory.read(descriptor.addr, descriptor.len)))
    if any(inner.flags & PackedFlag.INDIRECT for inner in table):
        raise GuestError("an indirect table holds an indirect descriptor")
    return table
