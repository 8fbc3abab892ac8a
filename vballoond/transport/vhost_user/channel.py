"""Whole vhost-user messages, with their descriptors, on one connected stream socket.

Rules of this file:

* A message is looked at (MSG_PEEK), handled, and only then consumed: a process that dies in between leaves it in the
  socket for its successor.
* Descriptors come with the first byte of a message. They are counted, never truncated in silence (MSG_CTRUNC), and
  close-on-exec.
* A header that cannot be one (wrong version) means that the stream has lost its place: nothing after it can be trusted,
  and the connection ends. A message that is whole but cannot be taken, for its size or its descriptors, is read away
  and reported as ``unusable``, and the stream goes on.
"""

import array
import asyncio
import select
import socket
from dataclasses import dataclass
from typing import Final, Self

from protocol.vhost_user.header import (
    MAX_MESSAGE_FDS,
    MAX_PAYLOAD_BYTES,
    MESSAGE_HEADER,
    VERSION,
    VERSION_MASK,
    MessageFlag,
    MessageHeader,
)

from ...errors import FrontEndError
from .descriptors import close_all

_FD_BYTES: Final = array.array("i").itemsize


@dataclass(frozen=True, slots=True)
class Message:
    """One message; its descriptors belong to whoever takes them, the rest is closed by :meth:`Channel.consume`."""

    header: MessageHeader
    payload: bytes
    fds: tuple[int, ...]
    unusable: str | None = None

    @property
    def need_reply(self) -> bool:
        """Whether the front-end waits for an answer."""
        return bool(self.header.flags & MessageFlag.NEED_REPLY)


class Channel:
    """One connection. The socket belongs to the channel from now on.

    Args:
        connection: A connected Unix stream socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket: Final = connection
        self._readable: Final = asyncio.Event()
        self._loop: Final = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._readable.set)

    async def peek(self) -> Message | None:
        """Wait for the next message and return it, still in the socket; None at the end of the stream.

        Raises:
            FrontEndError: The stream has lost its place.
            ConnectionError: The front-end broke off.
        """
        head = await self._look(MESSAGE_HEADER.size)
        if head is None:
            return None
        header = MESSAGE_HEADER.unpack(head)
        if header.flags & VERSION_MASK != VERSION:
            raise FrontEndError(f"message {header.request} has version {header.flags & VERSION_MASK}, not {VERSION}")
        if header.size > MAX_PAYLOAD_BYTES:
            return Message(
                header, b"", (), unusable=f"{header.size} bytes of payload are more than {MAX_PAYLOAD_BYTES}"
            )
        with _Received() as received:
            whole = await self._look(MESSAGE_HEADER.size + header.size, received)
            if whole is None:
                return None
            if received.truncated:
                return Message(header, b"", (), unusable="more descriptors than can be taken came with it")
            return Message(header, whole[MESSAGE_HEADER.size :], received.take())

    async def consume(self, message: Message) -> None:
        """Take ``message`` out of the socket. Descriptors that :meth:`peek` returned are duplicates and stay open."""
        left = MESSAGE_HEADER.size + message.header.size
        while left:
            self._readable.clear()
            try:
                piece = self._socket.recv(min(left, _DISCARD_BYTES))
            except BlockingIOError:
                await self._readable.wait()
                continue
            if not piece:
                return
            left -= len(piece)
            await asyncio.sleep(0)

    async def reply(self, request: int, payload: bytes) -> None:
        """Answer ``request``."""
        header = MessageHeader(request, VERSION | MessageFlag.REPLY, len(payload))
        await self._loop.sock_sendall(self._socket, MESSAGE_HEADER.pack(header) + payload)

    def hung_up(self) -> bool:
        """Say whether the front-end has closed its end, whatever is still in the socket."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _look(self, length: int, received: "_Received | None" = None) -> bytes | None:
        """Look at the next ``length`` bytes, in however many pieces they come; None where the stream ends before.

        Descriptors are added to ``received``; without it the kernel does not duplicate them.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
        seen, pause_s = b"", _FIRST_PAUSE_S
        while len(seen) < length:
            self._readable.clear()
            try:
                piece = self._receive(length - len(seen), received)
            except BlockingIOError:
                if seen:
                    await self._pause(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                else:
                    await self._readable.wait()
                continue
            if not piece:
                return None
            seen += piece
        return seen

    def _receive(self, length: int, received: "_Received | None") -> bytes:
        if received is None:
            return self._socket.recv(length, socket.MSG_PEEK)
        space = socket.CMSG_SPACE(MAX_MESSAGE_FDS * _FD_BYTES)
        data, ancillary, flags, _ = self._socket.recvmsg(length, space, socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received.fds += array.array("i", content[: len(content) - len(content) % _FD_BYTES])
        received.truncated |= bool(flags & socket.MSG_CTRUNC) or len(received.fds) > MAX_MESSAGE_FDS
        return data

    async def _pause(self, pause_s: float) -> None:
        """Wait for the rest of a message whose beginning keeps the socket readable."""
        # Every front-end known sends a message in one piece, so a timer will do: what it must not do is spin.
        self._loop.remove_reader(self._socket)
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._loop.add_reader(self._socket, self._readable.set)


class _Received:
    """Descriptors that came with a message, closed at the end of the block unless they were taken."""

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.truncated = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        close_all(self.fds)

    def take(self) -> tuple[int, ...]:
        """Give the descriptors away."""
        taken, self.fds = tuple(self.fds), []
        return taken


_SO_PEEK_OFF: Final = 42  # asm-generic/socket.h; the socket module has no name for it
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.5
_DISCARD_BYTES: Final = 1 << 16
