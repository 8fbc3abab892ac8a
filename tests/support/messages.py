"""Vhost-user messages as the channel gives them, without a socket."""

from collections.abc import Sequence

from protocol.vhost_user.header import VERSION, MessageFlag, MessageHeader
from vballoond.transport.vhost_user.channel import Message


def received(
    request: int,
    payload: bytes = b"",
    fds: Sequence[int] = (),
    *,
    need_reply: bool = False,
    unusable: str | None = None,
) -> Message:
    """A message that has arrived; ``fds`` need not be open for whoever only looks at their number."""
    flags = VERSION | (MessageFlag.NEED_REPLY if need_reply else 0)
    return Message(MessageHeader(request, flags, len(payload)), payload, tuple(fds), unusable)
