import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vballoond.runner import messages
from vballoond.runner.messages import BadMessageError, Message, pack, read, receive

HEADS = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3)


def received(sent: bytes) -> Message:
    async def take() -> Message:
        reader = asyncio.StreamReader()
        reader.feed_data(sent)
        reader.feed_eof()
        return await receive(reader)

    with asyncio.Runner() as runner:
        return runner.run(take())


@given(HEADS, st.binary(max_size=50))
def test_both_sides_read_what_was_sent(head, body: bytes) -> None:
    message = Message(head, body)
    assert read(io.BytesIO(pack(message))) == message
    assert received(pack(message)) == message


def test_the_end_is_no_message() -> None:
    assert read(io.BytesIO(b"")) is None
    with pytest.raises(EOFError):
        received(pack(Message({"a": 1}, b"body"))[:-1])


@pytest.mark.parametrize(
    "sent",
    [
        (messages.MAX_HEAD_BYTES + 1).to_bytes(4, "little") + bytes(4),
        bytes(4) + (messages.MAX_BODY_BYTES + 1).to_bytes(4, "little"),
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x02\0\0\0\0\0\0\0{x",
        b"\0\0\0\0\0\0\0\0",
    ],
)
def test_what_is_no_message_is_refused_before_it_is_read(sent: bytes) -> None:
    with pytest.raises(BadMessageError):
        received(sent)
    with pytest.raises(BadMessageError):
        read(io.BytesIO(sent))


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(BadMessageError):
        pack(Message({"x": "y" * messages.MAX_HEAD_BYTES}))
