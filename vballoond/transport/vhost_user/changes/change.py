"""What a change is, and what every rule checks of its message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from protocol.balloon.queues import MAX_QUEUES
from protocol.vhost_user.payloads import U64_PAYLOAD

from ....errors import FrontEndError
from ..channel import Message
from ..session import Session


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


def not_offered(features: int, offered: int) -> int:
    """Return the bits of ``features`` that are not on offer."""
    # The complement of an IntFlag has its named bits only, and would let unnamed ones pass.
    return features & ~int(offered)


def exactly(message: Message, length: int) -> bytes:
    """Return the payload, which must have this length."""
    if len(message.payload) != length:
        raise FrontEndError(
            f"message {message.header.request} has {len(message.payload)} bytes of payload, not {length}"
        )
    return message.payload


def at_least(message: Message, length: int) -> bytes:
    """Return the payload, which must have this length at least."""
    if len(message.payload) < length:
        raise FrontEndError(
            f"message {message.header.request} has {len(message.payload)} bytes of payload, needs {length}"
        )
    return message.payload


def number(message: Message) -> int:
    """Return the number that is all of the payload."""
    return U64_PAYLOAD.unpack(exactly(message, U64_PAYLOAD.size)).value


def only_fd(message: Message) -> int:
    """Return the descriptor, of which there must be one."""
    if len(message.fds) != 1:
        raise FrontEndError(f"message {message.header.request} came with {len(message.fds)} descriptors, not 1")
    return message.fds[0]


def ring_number(index: int) -> int:
    """Return ``index`` if a balloon has such a ring."""
    if index >= MAX_QUEUES:
        raise FrontEndError(f"ring {index} of a balloon, which has {MAX_QUEUES}")
    return index
