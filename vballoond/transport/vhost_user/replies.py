"""What a front-end is answered, from the session as it is after the message.

Rules of this file:

* A message has its own reply, or an acknowledgement where REPLY_ACK was negotiated and NEED_REPLY is set, or nothing.
  Never two. An acknowledgement is 0 for done and 1 for refused, and it is the only way to refuse.
* User-mode Linux sets NEED_REPLY on the very message that negotiates REPLY_ACK, and waits with interrupts off.
* A GET_CONFIG reply has exactly the size that was asked for; one without payload says that it cannot be answered.
"""

from collections.abc import Callable, Mapping
from typing import Final

from protocol.balloon.queues import MAX_QUEUES
from protocol.layout import LayoutError
from protocol.vhost_user.features import ProtocolFeature
from protocol.vhost_user.payloads import (
    CONFIG_HEADER,
    MAX_CONFIG_BYTES,
    U64,
    U64_PAYLOAD,
    VRING_STATE,
    VringState,
)
from protocol.vhost_user.requests import Request

from .changes import MAX_MEMORY_SLOTS, Offer
from .channel import Message
from .session import Session

ReadConfig = Callable[[int, int], bytes]


def reply_to(
    message: Message, session: Session, offer: Offer, read_config: ReadConfig, *, refused: bool
) -> bytes | None:
    """Return the payload that answers ``message``; None where nothing is due."""
    match message.header.request:
        case Request.GET_CONFIG:
            return _config(message, read_config)
        case Request.GET_VRING_BASE:
            return _vring_base(message, session)
        case request if request in _NUMBERS:
            return _u64(_NUMBERS[request](offer))
    if message.need_reply and session.protocol_features & _REPLY_ACK:
        return _u64(int(refused))
    return None


_REPLY_ACK: Final = int(ProtocolFeature.REPLY_ACK)
_NUMBERS: Final[Mapping[int, Callable[[Offer], int]]] = {
    Request.GET_FEATURES: lambda offer: offer.features,
    Request.GET_PROTOCOL_FEATURES: lambda offer: offer.protocol_features,
    Request.GET_QUEUE_NUM: lambda _: MAX_QUEUES,
    Request.GET_MAX_MEM_SLOTS: lambda _: MAX_MEMORY_SLOTS,
}
"""Requests that are answered by a number which the session has no part in."""


def _u64(value: int) -> bytes:
    return U64_PAYLOAD.pack(U64(value))


def _vring_base(message: Message, session: Session) -> bytes:
    """The position at which the ring stopped; also of a ring that was never set up, since QEMU may ask."""
    try:
        index = VRING_STATE.unpack(message.payload).ring
    except LayoutError:
        index = MAX_QUEUES
    base = session.vrings[index].state.base if index < MAX_QUEUES else 0
    return VRING_STATE.pack(VringState(index, base))


def _config(message: Message, read_config: ReadConfig) -> bytes:
    try:
        asked = CONFIG_HEADER.unpack_from(message.payload, 0)
    except LayoutError:
        return b""
    if asked.offset + asked.size > MAX_CONFIG_BYTES:
        return b""
    return CONFIG_HEADER.pack(asked) + read_config(asked.offset, asked.size)
