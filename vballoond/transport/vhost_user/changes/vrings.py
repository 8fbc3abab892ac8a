"""Setting rings up, starting and stopping them."""

from collections.abc import Callable
from dataclasses import replace

from protocol.balloon.queues import MAX_QUEUES
from protocol.split_ring import INDEX_MASK
from protocol.vhost_user.payloads import VRING_ADDRESS, VRING_STATE, VringDescriptor
from protocol.virtio import RingFeature

from ....errors import FrontEndError
from ....virtqueue.state import RingState
from ...rings import RingPlace, check_alignment, check_queue_size
from ..channel import Message
from ..session import Session, call_name, error_name, kick_name
from .change import Change, Offer, exactly, number, only_fd, ring_number


def set_vring_num(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_NUM: the size of a ring."""
    del offer
    state = VRING_STATE.unpack(exactly(message, VRING_STATE.size))
    try:
        check_queue_size(state.num, session.features)
    except ValueError as error:
        raise FrontEndError(str(error)) from error
    return _set_up(session, state.ring, size=state.num)


def set_vring_addr(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_ADDR. Whether the addresses lie in memory shows when the ring is to run: memory may come later."""
    del offer
    address = VRING_ADDRESS.unpack(exactly(message, VRING_ADDRESS.size))
    try:
        check_alignment(RingPlace(0, address.descriptor, address.available, address.used), session.features)
    except ValueError as error:
        raise FrontEndError(str(error)) from error
    return _set_up(session, address.ring, address=address)


def set_vring_base(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_BASE: the position from which a ring goes on."""
    del offer
    state = VRING_STATE.unpack(exactly(message, VRING_STATE.size))
    if state.num > INDEX_MASK and not session.features & RingFeature.RING_PACKED:
        raise FrontEndError(f"ring position {state.num:#x} of a split ring has more than 16 bits")
    return _set_up(session, state.ring, state=RingState(state.num), renewed=True)


def get_vring_base(session: Session, message: Message, offer: Offer) -> Change:
    """GET_VRING_BASE: stops the ring and drops its kick descriptor; the error descriptor stays."""
    del offer
    return _set_up(session, VRING_STATE.unpack(exactly(message, VRING_STATE.size)).ring)


def set_vring_enable(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_ENABLE. QEMU enables all rings of the device, also those that the guest never set up."""
    del offer
    state = VRING_STATE.unpack(exactly(message, VRING_STATE.size))
    if state.num not in (0, 1):
        raise FrontEndError(f"a ring is enabled by 1 and disabled by 0, not {state.num}")
    return Change(session.with_vring(ring_number(state.ring), enabled=bool(state.num)))


def set_vring_kick(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_KICK: starts the ring."""
    del offer
    index, store = _vring_descriptor(message, kick_name)
    if not store:
        raise FrontEndError(f"ring {index} would have to be polled: a balloon's rings are kicked by a descriptor")
    return Change(session.with_vring(index, started=True), store)


def set_vring_call(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_CALL. QEMU sends it three times for each start."""
    del offer
    index, store = _vring_descriptor(message, call_name)
    return Change(session, store, () if store else (call_name(index),))


def set_vring_err(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_ERR."""
    del offer
    index, store = _vring_descriptor(message, error_name)
    return Change(session, store, () if store else (error_name(index),))


def reset_device(session: Session, message: Message, offer: Offer) -> Change:
    """RESET_DEVICE, RESET_OWNER: all rings stop and are disabled; memory and what was negotiated stay."""
    del message, offer
    disabled = tuple(replace(vring, enabled=False) for vring in session.vrings)
    return stop_all(replace(session, vrings=disabled))


def stop_all(session: Session) -> Change:
    """Stop every ring; each runs again when it is kicked off anew."""
    vrings = tuple(replace(vring, started=False) for vring in session.vrings)
    return Change(replace(session, vrings=vrings), drop=tuple(kick_name(index) for index in range(MAX_QUEUES)))


def _set_up(session: Session, index: int, **changes: object) -> Change:
    """Change how a ring is set up. One that was started stops: it runs again when it is kicked off anew."""
    changed = session.with_vring(ring_number(index), started=False, **changes)
    return Change(changed, drop=(kick_name(index),))


def _vring_descriptor(message: Message, name: Callable[[int], str]) -> tuple[int, dict[str, int]]:
    value = number(message)
    index = ring_number(value & VringDescriptor.INDEX_MASK)
    if value & VringDescriptor.NO_FD:
        return index, {}
    return index, {name(index): only_fd(message)}
