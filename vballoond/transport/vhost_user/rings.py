"""From a session to rings that can be served, and which of them a change of session disturbs."""

from collections.abc import Mapping

from protocol.balloon.queues import QueueRole

from ...errors import FrontEndError
from ...memory.guest_memory import GuestMemory
from ...service.queue import Start
from ...virtqueue.ring import Ring
from ..rings import RingPlace, is_fresh, open_ring
from .session import Session


def ring_of(session: Session, index: int, memory: GuestMemory) -> Ring:
    """Return a ring that is set up, at the position that the session has for it.

    Raises:
        FrontEndError: It cannot be, or a part of it does not lie in one region of ``memory``.
    """
    vring = session.vrings[index]
    assert vring.address is not None
    place = RingPlace(vring.size, vring.address.descriptor, vring.address.available, vring.address.used)
    try:
        return open_ring(place, memory.user_view, memory, session.features, vring.base)
    except ValueError as error:
        raise FrontEndError(f"ring {index}: {error}") from error


def start_of(session: Session, index: int) -> Start:
    """Say how a ring comes to run."""
    vring = session.vrings[index]
    if not vring.renewed:
        return Start.AGAIN
    return Start.FRESH if is_fresh(vring.base, vring.size, session.features) else Start.RENEWED


def disturbed(running: Mapping[int, QueueRole], wanted: Mapping[int, QueueRole]) -> frozenset[int]:
    """Return the rings that run and do not just go on as they are ``wanted``, memory aside."""
    return frozenset(index for index, role in running.items() if wanted.get(index) is not role)
