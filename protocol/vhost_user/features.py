"""Protocol features of vhost-user, and the virtio feature bit under which they are negotiated."""

from enum import IntFlag
from typing import Final

F_PROTOCOL_FEATURES: Final = 1 << 30
"""In the word of GET_FEATURES, not a feature of the device: the front-end strips it before the guest looks."""


class ProtocolFeature(IntFlag):
    """By their mask; only those that a balloon back-end offers or must never offer."""

    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    REPLY_ACK = 1 << 3
    BACKEND_REQ = 1 << 5
    CONFIG = 1 << 9
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16
