"""Features, and the channel on which the front-end is told of config changes."""

from dataclasses import replace

from protocol.vhost_user.features import F_PROTOCOL_FEATURES

from ....errors import FrontEndError
from ..channel import Message
from ..session import BACKEND_CHANNEL, Session
from .change import Change, Offer, not_offered, number, only_fd
from .vrings import stop_all


def unchanged(session: Session, message: Message, offer: Offer) -> Change:
    """Questions, and SET_OWNER, which asks nothing of a back-end with one front-end at a time."""
    del message, offer
    return Change(session)


def get_features(session: Session, message: Message, offer: Offer) -> Change:
    """GET_FEATURES, which is a question, and from user-mode Linux also the last that is heard of a driver.

    Where a driver gives up a feature when it probes, user-mode Linux 6.1 loses F_PROTOCOL_FEATURES from what it
    acknowledges, and can then not disable a ring any more. When the driver is removed it frees the rings after this
    very message (vu_del_vqs), so whoever went on with them would write into memory of the guest. Front-ends that keep
    F_PROTOCOL_FEATURES, and that is all others known, ask only before they start.
    """
    del message, offer
    if session.protocol_features and not session.features & F_PROTOCOL_FEATURES:
        return stop_all(session)
    return Change(session)


def set_features(session: Session, message: Message, offer: Offer) -> Change:
    """SET_FEATURES: a driver negotiates, so the rings of the one before run no more.

    The rings' enable bits stay as they are where F_PROTOCOL_FEATURES is acknowledged.
    """
    features = number(message)
    unknown = not_offered(features, offer.features)
    if unknown:
        raise FrontEndError(f"features {unknown:#x} were acknowledged but not offered")
    return stop_all(replace(session, features=features))


def set_protocol_features(session: Session, message: Message, offer: Offer) -> Change:
    """SET_PROTOCOL_FEATURES."""
    features = number(message)
    unknown = not_offered(features, offer.protocol_features)
    if unknown:
        raise FrontEndError(f"protocol features {unknown:#x} were acknowledged but not offered")
    return Change(replace(session, protocol_features=features))


def set_backend_channel(session: Session, message: Message, offer: Offer) -> Change:
    """SET_BACKEND_REQ_FD: the socket on which the front-end is told of config changes."""
    del offer
    return Change(session, {BACKEND_CHANNEL: only_fd(message)})
