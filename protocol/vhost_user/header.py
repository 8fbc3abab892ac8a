"""The 12 bytes before every message."""

from enum import IntFlag
from typing import Final, NamedTuple

from construct import Int32ul

from ..layout import Layout

VERSION: Final = 1
VERSION_MASK: Final = 0x3


class MessageFlag(IntFlag):
    """Bits of ``flags`` above the two of the version."""

    REPLY = 1 << 2
    NEED_REPLY = 1 << 3


class MessageHeader(NamedTuple):
    """``request`` names the message, ``size`` counts the bytes of payload that follow."""

    request: int
    flags: int
    size: int


MESSAGE_HEADER: Final = Layout(MessageHeader, request=Int32ul, flags=Int32ul, size=Int32ul)

MAX_PAYLOAD_BYTES: Final = 4096
"""No message that a balloon serves is near this. A larger size is a stream that has lost its place: nothing after it
can be trusted. The bound is rust-vmm's MAX_MSG_SIZE."""

MAX_MESSAGE_FDS: Final = 32
"""Descriptors received with one message: a memory table has at most 8, and rust-vmm's bound leaves room."""
