"""What each request makes of a session: pure functions, one for each request that changes something.

Rules of this file:

* A change takes the session and the message, and returns the new session with the descriptors to keep and to drop. It
  never touches the world: ``backend`` lets the world follow, and only then is the message answered.
* A change that cannot be made raises :class:`FrontEndError`; nothing of it is applied, the front-end is refused, and
  the connection stays.
* A ring stops at GET_VRING_BASE and whenever it, or the device, is set up anew: its memory may be the guest's again,
  and nothing may look at it before the next SET_VRING_KICK.
* Payloads that are longer than their content are accepted where a real front-end sends them so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.balloon.queues import MAX_QUEUES
from protocol.packed_ring import DESCRIPTOR_RING_ALIGNMENT, EVENT_AREA_ALIGNMENT
from protocol.split_ring import (
    AVAIL_RING_ALIGNMENT,
    DESCRIPTOR_TABLE_ALIGNMENT,
    INDEX_MASK,
    USED_RING_ALIGNMENT,
)
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.payloads import (
    CONFIG_HEADER,
    MAX_CONFIG_BYTES,
    MAX_TABLE_REGIONS,
    MEMORY_REGION,
    MEMORY_TABLE_HEADER,
    SINGLE_REGION,
    U64_PAYLOAD,
    VRING_ADDRESS,
    VRING_STATE,
    MemoryRegionDescription,
    VringDescriptor,
)
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

from ...errors import FrontEndError
from ...memory.region import RegionPlace
from ..rings import check_queue_size
from .channel import Message
from .session import BACKEND_CHANNEL, Session, call_name, error_name, kick_name, memory_name

MAX_MEMORY_SLOTS: Final = 128
"""What GET_MAX_MEM_SLOTS answers. QEMU would take up to 512, but each slot costs two descriptors here, and one monitor
must not use up what the process may have."""


@dataclass(frozen=True, slots=True)
class Change:
    """A session to adopt, the descriptors that come with it, and what the driver wrote to configuration space."""

    session: Session
    store: Mapping[str, int] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    config_write: tuple[int, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the back-end offers: virtio feature bits with F_PROTOCOL_FEATURES, and protocol features."""

    features: int
    protocol_features: int


Rule = Callable[[Session, Message, Offer], Change]


def get_features(session: Session, message: Message, offer: Offer) -> Change:
    """GET_FEATURES, which is a question, and from user-mode Linux also the last that is heard of a driver.

    Where a driver gives up a feature when it probes, user-mode Linux 6.1 loses F_PROTOCOL_FEATURES from what it
    acknowledges, and can then not disable a ring any more. When the driver is removed it frees the rings after this
    very message (vu_del_vqs), so whoever went on with them would write into memory of the guest. Front-ends that keep
    F_PROTOCOL_FEATURES, and that is all others known, ask only before they start.
    """
    del message, offer
    if session.protocol_features and not session.features & F_PROTOCOL_FEATURES:
        return _stop_all(session)
    return Change(session)


def set_features(session: Session, message: Message, offer: Offer) -> Change:
    """SET_FEATURES: a driver negotiates, so the rings of the one before run no more.

    The rings' enable bits stay as they are where F_PROTOCOL_FEATURES is acknowledged.
    """
    features = _u64(message)
    unknown = features & ~int(offer.features)
    if unknown:
        raise FrontEndError(f"features {unknown:#x} were acknowledged but not offered")
    return _stop_all(replace(session, features=features))


def set_protocol_features(session: Session, message: Message, offer: Offer) -> Change:
    """SET_PROTOCOL_FEATURES."""
    features = _u64(message)
    unknown = features & ~int(offer.protocol_features)
    if unknown:
        raise FrontEndError(f"protocol features {unknown:#x} were acknowledged but not offered")
    return Change(replace(session, protocol_features=features))


def set_backend_channel(session: Session, message: Message, offer: Offer) -> Change:
    """SET_BACKEND_REQ_FD: the socket on which the front-end is told of config changes."""
    del offer
    return Change(session, {BACKEND_CHANNEL: _only_fd(message)})


def set_mem_table(session: Session, message: Message, offer: Offer) -> Change:
    """SET_MEM_TABLE: replaces all regions. Linux 6.1 sends a payload for two regions however many there are."""
    del offer
    count = MEMORY_TABLE_HEADER.unpack_from(_at_least(message, MEMORY_TABLE_HEADER.size), 0).regions
    if count > MAX_TABLE_REGIONS:
        raise FrontEndError(f"a memory table of {count} regions: the message has room for {MAX_TABLE_REGIONS}")
    if len(message.fds) != count:
        raise FrontEndError(f"a memory table of {count} regions came with {len(message.fds)} descriptors")
    payload = _at_least(message, MEMORY_TABLE_HEADER.size + count * MEMORY_REGION.size)
    places = tuple(
        _place(MEMORY_REGION.unpack_from(payload, MEMORY_TABLE_HEADER.size + number * MEMORY_REGION.size))
        for number in range(count)
    )
    store = {memory_name(place): fd for place, fd in zip(places, message.fds, strict=True)}
    if len(store) < count:
        raise FrontEndError("a memory table has the same region twice")
    gone = {memory_name(place) for place in session.regions} - store.keys()
    return Change(replace(session, regions=places), store, tuple(gone))


def add_mem_reg(session: Session, message: Message, offer: Offer) -> Change:
    """ADD_MEM_REG."""
    del offer
    place = _place(SINGLE_REGION.unpack(_exactly(message, SINGLE_REGION.size)).region)
    fd = _only_fd(message)
    if len(session.regions) >= MAX_MEMORY_SLOTS:
        raise FrontEndError(f"all {MAX_MEMORY_SLOTS} memory slots are taken")
    if any(memory_name(place) == memory_name(known) for known in session.regions):
        raise FrontEndError(f"the memory region at guest address {place.guest_address:#x} is there already")
    return Change(replace(session, regions=(*session.regions, place)), {memory_name(place): fd})


def rem_mem_reg(session: Session, message: Message, offer: Offer) -> Change:
    """REM_MEM_REG: found by addresses and size, since QEMU sends 0 for the offset. A descriptor may come along."""
    del offer
    gone = SINGLE_REGION.unpack(_exactly(message, SINGLE_REGION.size)).region
    for place in session.regions:
        if (place.guest_address, place.size_bytes, place.user_address) == gone[:3]:
            regions = tuple(other for other in session.regions if other is not place)
            return Change(replace(session, regions=regions), drop=(memory_name(place),))
    raise FrontEndError(
        f"there is no memory region of {gone.memory_size} bytes at guest address {gone.guest_address:#x}"
    )


def set_vring_num(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_NUM: the size of a ring."""
    del offer
    state = VRING_STATE.unpack(_exactly(message, VRING_STATE.size))
    try:
        check_queue_size(state.num, session.features)
    except ValueError as error:
        raise FrontEndError(str(error)) from error
    return _set_up(session, state.ring, size=state.num)


def set_vring_addr(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_ADDR. Whether the addresses lie in memory shows when the ring is to run: memory may come later."""
    del offer
    address = VRING_ADDRESS.unpack(_exactly(message, VRING_ADDRESS.size))
    packed = session.features & RingFeature.RING_PACKED
    for name, alignment in (_PACKED_ALIGNMENTS if packed else _SPLIT_ALIGNMENTS).items():
        if getattr(address, name) % alignment:
            raise FrontEndError(
                f"ring part '{name}' at {getattr(address, name):#x} is not aligned to {alignment} bytes"
            )
    return _set_up(session, address.ring, address=address)


def set_vring_base(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_BASE: the position from which a ring goes on."""
    del offer
    state = VRING_STATE.unpack(_exactly(message, VRING_STATE.size))
    if state.num > INDEX_MASK and not session.features & RingFeature.RING_PACKED:
        raise FrontEndError(f"ring position {state.num:#x} of a split ring has more than 16 bits")
    return _set_up(session, state.ring, base=state.num, renewed=True)


def get_vring_base(session: Session, message: Message, offer: Offer) -> Change:
    """GET_VRING_BASE: stops the ring and drops its kick descriptor; the error descriptor stays."""
    del offer
    return _set_up(session, VRING_STATE.unpack(_exactly(message, VRING_STATE.size)).ring)


def set_vring_enable(session: Session, message: Message, offer: Offer) -> Change:
    """SET_VRING_ENABLE. QEMU enables all rings of the device, also those that the guest never set up."""
    del offer
    state = VRING_STATE.unpack(_exactly(message, VRING_STATE.size))
    if state.num not in (0, 1):
        raise FrontEndError(f"a ring is enabled by 1 and disabled by 0, not {state.num}")
    return Change(session.with_vring(_ring(state.ring), enabled=bool(state.num)))


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


def set_config(session: Session, message: Message, offer: Offer) -> Change:
    """SET_CONFIG: the device takes the driver's own fields only, and the flags say nothing that can be relied on."""
    del offer
    payload = _at_least(message, CONFIG_HEADER.size)
    header = CONFIG_HEADER.unpack_from(payload, 0)
    data = payload[CONFIG_HEADER.size :]
    if header.size != len(data) or header.offset + header.size > MAX_CONFIG_BYTES:
        raise FrontEndError(
            f"{len(data)} bytes of configuration space came for {header.size} at offset {header.offset}; "
            f"it has {MAX_CONFIG_BYTES}"
        )
    return Change(session, config_write=(header.offset, data))


def reset_device(session: Session, message: Message, offer: Offer) -> Change:
    """RESET_DEVICE, RESET_OWNER: all rings stop and are disabled; memory and what was negotiated stay."""
    del message, offer
    disabled = tuple(replace(vring, enabled=False) for vring in session.vrings)
    return _stop_all(replace(session, vrings=disabled))


def unchanged(session: Session, message: Message, offer: Offer) -> Change:
    """Questions, and SET_OWNER, which asks nothing of a back-end with one front-end at a time."""
    del message, offer
    return Change(session)


RULES: Final[Mapping[int, Rule]] = {
    Request.GET_FEATURES: get_features,
    Request.SET_FEATURES: set_features,
    Request.SET_OWNER: unchanged,
    Request.RESET_OWNER: reset_device,
    Request.SET_MEM_TABLE: set_mem_table,
    Request.SET_VRING_NUM: set_vring_num,
    Request.SET_VRING_ADDR: set_vring_addr,
    Request.SET_VRING_BASE: set_vring_base,
    Request.GET_VRING_BASE: get_vring_base,
    Request.SET_VRING_KICK: set_vring_kick,
    Request.SET_VRING_CALL: set_vring_call,
    Request.SET_VRING_ERR: set_vring_err,
    Request.GET_PROTOCOL_FEATURES: unchanged,
    Request.SET_PROTOCOL_FEATURES: set_protocol_features,
    Request.GET_QUEUE_NUM: unchanged,
    Request.SET_VRING_ENABLE: set_vring_enable,
    Request.SET_BACKEND_REQ_FD: set_backend_channel,
    Request.GET_CONFIG: unchanged,
    Request.SET_CONFIG: set_config,
    Request.RESET_DEVICE: reset_device,
    Request.GET_MAX_MEM_SLOTS: unchanged,
    Request.ADD_MEM_REG: add_mem_reg,
    Request.REM_MEM_REG: rem_mem_reg,
}


def change_of(session: Session, message: Message, offer: Offer) -> Change:
    """Return what ``message`` makes of ``session``.

    Raises:
        FrontEndError: The message is unknown, malformed, or asks for what cannot be.
    """
    rule = RULES.get(message.header.request)
    if rule is None:
        raise FrontEndError(f"message {message.header.request} is not one that a balloon serves")
    if message.unusable is not None:
        raise FrontEndError(f"message {message.header.request}: {message.unusable}")
    return rule(session, message, offer)


_SPLIT_ALIGNMENTS: Final = {
    "descriptor": DESCRIPTOR_TABLE_ALIGNMENT,
    "available": AVAIL_RING_ALIGNMENT,
    "used": USED_RING_ALIGNMENT,
}
_PACKED_ALIGNMENTS: Final = {
    "descriptor": DESCRIPTOR_RING_ALIGNMENT,
    "available": EVENT_AREA_ALIGNMENT,
    "used": EVENT_AREA_ALIGNMENT,
}


def _set_up(session: Session, index: int, **changes: object) -> Change:
    """Change how a ring is set up. One that was started stops: it runs again when it is kicked off anew."""
    changed = session.with_vring(_ring(index), started=False, **changes)
    return Change(changed, drop=(kick_name(index),))


def _stop_all(session: Session) -> Change:
    vrings = tuple(replace(vring, started=False) for vring in session.vrings)
    return Change(replace(session, vrings=vrings), drop=tuple(kick_name(index) for index in range(MAX_QUEUES)))


def _exactly(message: Message, length: int) -> bytes:
    if len(message.payload) != length:
        raise FrontEndError(
            f"message {message.header.request} has {len(message.payload)} bytes of payload, not {length}"
        )
    return message.payload


def _at_least(message: Message, length: int) -> bytes:
    if len(message.payload) < length:
        raise FrontEndError(
            f"message {message.header.request} has {len(message.payload)} bytes of payload, needs {length}"
        )
    return message.payload


def _u64(message: Message) -> int:
    return U64_PAYLOAD.unpack(_exactly(message, U64_PAYLOAD.size)).value


def _only_fd(message: Message) -> int:
    if len(message.fds) != 1:
        raise FrontEndError(f"message {message.header.request} came with {len(message.fds)} descriptors, not 1")
    return message.fds[0]


def _ring(index: int) -> int:
    if index >= MAX_QUEUES:
        raise FrontEndError(f"ring {index} of a balloon, which has {MAX_QUEUES}")
    return index


def _place(region: MemoryRegionDescription) -> RegionPlace:
    return RegionPlace(region.guest_address, region.memory_size, region.user_address, region.mmap_offset)


def _vring_descriptor(message: Message, name: Callable[[int], str]) -> tuple[int, dict[str, int]]:
    value = _u64(message)
    index = _ring(value & VringDescriptor.INDEX_MASK)
    if value & VringDescriptor.NO_FD:
        return index, {}
    return index, {name(index): _only_fd(message)}
