"""The device's half of a split virtqueue: virtio 1.4 sections 2.7.6 to 2.7.14.

Rules of this file:

* The available index never runs more than the queue size ahead of what was taken (2.7.13.3); a jump is a
  :class:`GuestError`.
* A used element is stored before the used index that publishes it (2.7.8.2). A barrier stands between publishing an
  index and looking at what the driver wants to hear of (2.7.10.1), and between asking for kicks and looking again for
  buffers: either side may otherwise miss the other's last word and wait for ever.
* With EVENT_IDX the flags words are not looked at and stay 0; without it the event words are neither read nor written
  (2.7.7.2, 2.7.10.2).
* The rings' words are native and aligned (``protocol.shared_words``); the driver may change them at any time, so each
  is loaded once per decision.
"""

from dataclasses import dataclass
from typing import Final

from protocol.shared_words import full_barrier, words16, words32
from protocol.split_ring import (
    AVAIL_RING_WORD,
    FLAGS_WORD,
    IDX_WORD,
    INDEX_MASK,
    USED_ELEMENT_WORDS,
    USED_RING_WORD32,
    RingFlag,
    SplitRingGeometry,
    need_event,
)

from ..errors import GuestError
from ..memory.guest_memory import GuestMemory
from .chain import Chain, walk
from .order import AnyOrder, InOrder
from .state import RingState


@dataclass(frozen=True, slots=True)
class SplitRingParts:
    """Views of the three parts of a ring in guest memory; who makes a ring of them gives them away."""

    descriptor_table: memoryview
    avail_ring: memoryview
    used_ring: memoryview


class SplitRing:
    """One split ring, served by the device.

    Args:
        geometry: The sizes of the ring.
        parts: Its three parts, each exactly as long as ``geometry`` says; released by :meth:`close`.
        memory: Where indirect tables are read from.
        next_avail: The position to go on from, as a front-end gives it (0 for a fresh ring).
        event_idx: Whether EVENT_IDX was negotiated.
        indirect: Whether INDIRECT_DESC was negotiated.
        in_order: Whether IN_ORDER was negotiated: buffers are used as they were made available (2.7.9).
    """

    def __init__(
        self,
        geometry: SplitRingGeometry,
        parts: SplitRingParts,
        memory: GuestMemory,
        *,
        next_avail: int = 0,
        event_idx: bool = False,
        indirect: bool = False,
        in_order: bool = False,
    ) -> None:
        self._geometry: Final = geometry
        self._memory: Final = memory
        self._event_idx: Final = event_idx
        self._indirect: Final = indirect
        self._table: Final = parts.descriptor_table
        self._parts: Final = parts
        self._avail: Final = words16(parts.avail_ring)
        self._used: Final = words16(parts.used_ring)
        self._used_elements: Final = words32(parts.used_ring[: geometry.used_elements_end])
        self._next_avail = next_avail
        # vhost-user tells no used index: it is what memory says, and both are equal when every buffer was completed.
        self._next_used = self._used[IDX_WORD]
        self._notified_used = self._next_used
        self._in_flight = 0
        self._order: Final = InOrder() if in_order else AnyOrder()

    @property
    def next_avail(self) -> int:
        """The position of the next buffer to take, modulo 2**16."""
        return self._next_avail

    @property
    def state(self) -> RingState:
        """From where the ring can go on; what was taken and not given back is the ring's again then."""
        return RingState((self._next_avail - self._in_flight) & INDEX_MASK, self._next_used)

    def pop(self) -> Chain | None:
        """Take the next buffer that the driver made available; None if there is none.

        Raises:
            GuestError: The ring or the chain breaks a rule; the position stays where it is.
        """
        waiting = (self._avail[IDX_WORD] - self._next_avail) & INDEX_MASK
        if waiting == 0:
            return None
        size = self._geometry.queue_size
        if waiting > size:
            raise GuestError(f"the available index is {waiting} ahead in a queue of {size}")
        head = self._avail[AVAIL_RING_WORD + self._next_avail % size]
        if head >= size:
            raise GuestError(f"head {head} in a queue of {size}")
        chain = walk(self._table, head, self._memory, indirect=self._indirect)
        self._next_avail = (self._next_avail + 1) & INDEX_MASK
        self._in_flight += 1
        self._order.taken(head)
        return chain

    def unpop(self) -> None:
        """Give the last buffer taken back to the ring, as if it had not been looked at."""
        self._next_avail = (self._next_avail - 1) & INDEX_MASK
        self._in_flight -= 1
        self._order.untaken()

    def push(self, head: int, written_bytes: int = 0) -> None:
        """Return a buffer to the driver. :meth:`should_notify` says whether it wants to hear of it."""
        self._order.used(head)
        slot = USED_RING_WORD32 + USED_ELEMENT_WORDS * (self._next_used % self._geometry.queue_size)
        self._used_elements[slot] = head
        self._used_elements[slot + 1] = written_bytes
        self._next_used = (self._next_used + 1) & INDEX_MASK
        self._in_flight -= 1
        self._used[IDX_WORD] = self._next_used

    def should_notify(self) -> bool:
        """Say whether the driver wants an interrupt for what was pushed since this was last asked."""
        before, self._notified_used = self._notified_used, self._next_used
        if before == self._next_used:
            return False
        full_barrier()
        if self._event_idx:
            return need_event(self._avail[self._geometry.used_event_word], self._next_used, before)
        return not self._avail[FLAGS_WORD] & RingFlag.NO_INTERRUPT

    def enable_kicks(self) -> bool:
        """Ask for a kick at the next buffer; True if one arrived in the meantime and must be served without."""
        if self._event_idx:
            self._used[self._geometry.avail_event_word] = self._next_avail
        else:
            self._used[FLAGS_WORD] = 0
        full_barrier()
        return self._avail[IDX_WORD] != self._next_avail

    def close(self) -> None:
        """Release every view of guest memory, so that it can be unmapped. The ring cannot be used afterwards."""
        for view in (self._avail, self._used, self._used_elements):
            view.release()
        for view in (self._parts.descriptor_table, self._parts.avail_ring, self._parts.used_ring):
            view.release()


def caught_up(state: RingState, used_ring: memoryview) -> int:
    """Return the position at which a ring goes on that may have died behind publishing used buffers."""
    if state.used_idx is None:
        return state.base
    with words16(used_ring) as used:
        return (state.base + used[IDX_WORD] - state.used_idx) & INDEX_MASK
