"""What the driver writes to the configuration space."""

from protocol.vhost_user.payloads import CONFIG_HEADER, MAX_CONFIG_BYTES

from ....errors import FrontEndError
from ..channel import Message
from ..session import Session
from .change import Change, Offer, at_least


def set_config(session: Session, message: Message, offer: Offer) -> Change:
    """SET_CONFIG: the device takes the driver's own fields only, and the flags say nothing that can be relied on."""
    del offer
    payload = at_least(message, CONFIG_HEADER.size)
    header = CONFIG_HEADER.unpack_from(payload, 0)
    data = payload[CONFIG_HEADER.size :]
    if header.size != len(data) or header.offset + header.size > MAX_CONFIG_BYTES:
        raise FrontEndError(
            f"{len(data)} bytes of configuration space came for {header.size} at offset {header.offset}; "
            f"it has {MAX_CONFIG_BYTES}"
        )
    return Change(session, config_write=(header.offset, data))
