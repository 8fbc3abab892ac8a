"""From a session to rings that can be served, and which of them a change of session disturbs."""

from collections.abc import Mapping
from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.shared_words import words16
from protocol.split_ring import IDX_WORD
from protocol.virtio import RingFeature

from ...errors import FrontEndError
from ...memory.guest_memory import GuestMemory
from ...service.queue import Start
from ...virtqueue.ring import Ring
from ...virtqueue.state import RingRecord, RingState
from ..rings import RingPlace, check_alignment, is_fresh, open_ring
from .session import Session, Vring

_USED_HEADER_BYTES: Final = 4


def ring_of(session: Session, index: int, memory: GuestMemory, record: RingRecord | None = None) -> Ring:
    """Return a ring that is set up, in the state that the session has for it, which goes on in ``record``.

    Raises:
        FrontEndError: It cannot be, or a part of it does not lie in one region of ``memory``.
    """
    vring = session.vrings[index]
    assert vring.address is not None
    place = RingPlace(vring.size, vring.address.descriptor, vring.address.available, vring.address.used)
    try:
        check_alignment(place, session.features)
        state = _state(session, vring, place, memory)
        return open_ring(place, memory.user_view, memory, session.features, state, record)
    except ValueError as error:
        raise FrontEndError(f"ring {index}: {error}") from error


def _state(session: Session, vring: Vring, place: RingPlace, memory: GuestMemory) -> RingState:
    """Return where a ring goes on.

    A split ring that was used goes on behind what was used of it, which is where it was stopped, since buffers are
    completed in order. cloud-hypervisor gives the available index when it connects again, and a buffer that nobody had
    served by then would never come back.
    """
    if not vring.renewed or session.features & RingFeature.RING_PACKED or vring.state.base == 0:
        return vring.state
    with memory.user_view(place.device_area, _USED_HEADER_BYTES) as header, words16(header) as words:
        return RingState(words[IDX_WORD])


def start_of(session: Session, index: int) -> Start:
    """Say how a ring comes to run."""
    vring = session.vrings[index]
    if not vring.renewed:
        return Start.AGAIN
    return Start.FRESH if is_fresh(vring.state.base, vring.size, session.features) else Start.RENEWED


def disturbed(running: Mapping[int, QueueRole], wanted: Mapping[int, QueueRole]) -> frozenset[int]:
    """Return the rings that run and do not just go on as they are ``wanted``, memory aside."""
    return frozenset(index for index, role in running.items() if wanted.get(index) is not role)
