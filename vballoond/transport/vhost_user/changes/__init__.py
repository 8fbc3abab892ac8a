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

from collections.abc import Mapping
from typing import Final

from protocol.vhost_user.requests import Request

from ....errors import FrontEndError
from ..channel import Message
from ..session import Session
from .change import Change, Offer, Rule
from .config import set_config
from .memory import MAX_MEMORY_SLOTS, add_mem_reg, rem_mem_reg, set_mem_table
from .negotiation import get_features, set_backend_channel, set_features, set_protocol_features, unchanged
from .vrings import (
    get_vring_base,
    reset_device,
    set_vring_addr,
    set_vring_base,
    set_vring_call,
    set_vring_enable,
    set_vring_err,
    set_vring_kick,
    set_vring_num,
)

__all__ = ["MAX_MEMORY_SLOTS", "RULES", "Change", "Offer", "change_of"]

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
