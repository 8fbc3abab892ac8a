"""From a session to rings that can be served, and which of them a change of session disturbs."""

from dataclasses import dataclass

from protocol.balloon.queues import QueueRole
from protocol.split_ring import SplitRingGeometry
from protocol.virtio import RingFeature

from ...memory.guest_memory import GuestMemory
from ...virtqueue.split import SplitRing, SplitRingParts
from .session import Session


@dataclass(frozen=True, slots=True)
class PreparedRing:
    """A ring whose parts were found in memory."""

    role: QueueRole
    geometry: SplitRingGeometry
    parts: SplitRingParts


def prepare_ring(session: Session, index: int, role: QueueRole, memory: GuestMemory) -> PreparedRing:
    """Find the parts of a ring that is set up.

    Raises:
        FrontEndError: One of them does not lie in one region of ``memory``.
    """
    vring = session.vrings[index]
    assert vring.address is not None
    geometry = SplitRingGeometry(vring.size)
    parts = SplitRingParts(
        memory.user_view(vring.address.descriptor, geometry.descriptor_table_bytes),
        memory.user_view(vring.address.available, geometry.avail_ring_bytes),
        memory.user_view(vring.address.used, geometry.used_ring_bytes),
    )
    return PreparedRing(role, geometry, parts)


def open_ring(session: Session, index: int, prepared: PreparedRing, memory: GuestMemory) -> SplitRing:
    """Make a ring of what was prepared, at the position that the session has for it."""
    return SplitRing(
        prepared.geometry,
        prepared.parts,
        memory,
        next_avail=session.vrings[index].base,
        event_idx=bool(session.features & RingFeature.EVENT_IDX),
        indirect=bool(session.features & RingFeature.INDIRECT_DESC),
    )


def disturbed(before: Session, after: Session) -> frozenset[int]:
    """Return the rings that run in ``before`` and do not just go on in ``after``, memory aside."""
    wanted = after.running()
    return frozenset(index for index, role in before.running().items() if wanted.get(index) is not role)
