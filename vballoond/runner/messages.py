"""What the daemon and the process of the scripts say to each other, over a pipe each way.

Rules of this file:

* A message is two lengths, a small JSON object that says what it is, and a body, which is JSON of any size or empty.
* Both lengths are bounded before anything is read: neither side can have the other take all memory.
"""

import asyncio
import json
import struct
from typing import Any, BinaryIO, Final, NamedTuple

MAX_HEAD_BYTES: Final = 1 << 20
"""Settings, or a report, whatever characters are in it."""
MAX_BODY_BYTES: Final = 64 << 20
"""A view of ten thousand guests has some ten mebibytes, and so have all files of policies."""

_LENGTHS: Final = struct.Struct("<II")


class Message(NamedTuple):
    """``head`` says what it is, ``body`` is JSON or empty."""

    head: dict[str, Any]
    body: bytes = b""


class BadMessageError(Exception):
    """What came is no message."""


def pack(message: Message) -> bytes:
    """Return a message as it is sent.

    Raises:
        BadMessageError: It is larger than any may be.
    """
    head = json.dumps(message.head, separators=(",", ":")).encode()
    _check(len(head), len(message.body))
    return _LENGTHS.pack(len(head), len(message.body)) + head + message.body


async def receive(reader: asyncio.StreamReader) -> Message:
    """Return the next message.

    Raises:
        BadMessageError: It is none.
        EOFError: The other side has gone.
    """
    head_bytes, body_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
    _check(head_bytes, body_bytes)
    return _message(await reader.readexactly(head_bytes), await reader.readexactly(body_bytes))


def read(file: BinaryIO) -> Message | None:
    """Return the next message, waiting for it; None: the other side has gone.

    Raises:
        BadMessageError: It is none.
    """
    lengths = file.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, body_bytes = _LENGTHS.unpack(lengths)
    _check(head_bytes, body_bytes)
    return _message(file.read(head_bytes), file.read(body_bytes))


def _check(head_bytes: int, body_bytes: int) -> None:
    if head_bytes > MAX_HEAD_BYTES or body_bytes > MAX_BODY_BYTES:
        raise BadMessageError(
            f"a message of {head_bytes} and {body_bytes} bytes; {MAX_HEAD_BYTES} and {MAX_BODY_BYTES} are the most"
        )


def _message(head: bytes, body: bytes) -> Message:
    try:
        value = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise BadMessageError("a message without a JSON head") from error
    if not isinstance(value, dict):
        raise BadMessageError("a message whose head is no JSON object")
    return Message(value, body)
