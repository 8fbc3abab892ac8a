"""Whole vhost-user messages, with their descriptors, on one connected stream socket.

Rules of this file:

* A message is looked at (MSG_PEEK), handled, and only then consumed: a process that dies in between leaves it in the
  socket for its successor.
* Descriptors come with the first byte of a message. They are counted, never truncated in silence (MSG_CTRUNC), and
  close-on-exec.
* A header that cannot be one (wrong version) means that the stream has lost its place: nothing after it can be trusted,
  and the connection ends. A payload larger than any is read away and reported, and the stream goes on.
"""

import array
import asyncio
import socket
from dataclasses import dataclass
from typing import Final

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
    oversize: bool = False

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
            return Message(header, b"", (), oversize=True)
        fds: list[int] = []
        whole = await self._look(MESSAGE_HEADER.size + header.size, fds)
        if whole is None:
            close_all(fds)
            return None
        return Message(header, whole[MESSAGE_HEADER.size :], tuple(fds))

    async def consume(self, message: Message) -> None:
        """Take ``message`` out of the socket. Descriptors that :meth:`peek` returned are duplicates and stay open."""
        left = MESSAGE_HEADER.size + message.header.size
        while left:
            piece = await self._loop.sock_recv(self._socket, min(left, _DISCARD_BYTES))
            if not piece:
                return
            left -= len(piece)

    async def reply(self, request: int, payload: bytes) -> None:
        """Answer ``request``."""
        header = MessageHeader(request, VERSION | MessageFlag.REPLY, len(payload))
        await self._loop.sock_sendall(self._socket, MESSAGE_HEADER.pack(header) + payload)

    def close(self) -> None:
        """Close the connection."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _look(self, length: int, fds: list[int] | None = None) -> bytes | None:
        """Look at the next ``length`` bytes, in however many pieces they come; None where the stream ends before.

        Descriptors are appended to ``fds``; without it the kernel does not duplicate them.
        """
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
        seen = b""
        while len(seen) < length:
            self._readable.clear()
            try:
                piece = self._receive(length - len(seen), fds)
            except BlockingIOError:
                await self._wait(started=bool(seen))
                continue
            if not piece:
                return None
            seen += piece
        return seen

    def _receive(self, length: int, fds: list[int] | None) -> bytes:
        if fds is None:
            return self._socket.recv(length, socket.MSG_PEEK)
        space = socket.CMSG_SPACE(MAX_MESSAGE_FDS * _FD_BYTES)
        data, ancillary, flags, _ = self._socket.recvmsg(length, space, socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds += array.array("i", content[: len(content) - len(content) % _FD_BYTES])
        if flags & socket.MSG_CTRUNC or len(fds) > MAX_MESSAGE_FDS:
            close_all(fds)
            raise FrontEndError(f"a message came with more than {MAX_MESSAGE_FDS} descriptors")
        return data

    async def _wait(self, *, started: bool) -> None:
        """Wait for more bytes; behind a message that has ``started``, the bytes already there keep the socket ready."""
        if not started:
            await self._readable.wait()
            return
        # Every front-end known sends a message in one piece, so a timer will do: what it must not do is spin.
        self._loop.remove_reader(self._socket)
        try:
            await asyncio.sleep(_PIECE_WAIT_S)
        finally:
            self._loop.add_reader(self._socket, self._readable.set)


_SO_PEEK_OFF: Final = 42  # asm-generic/socket.h; the socket module has no name for it
_PIECE_WAIT_S: Final = 0.005
_DISCARD_BYTES: Final = 1 << 16
