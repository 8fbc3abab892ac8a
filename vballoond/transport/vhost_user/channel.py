"""Whole vhost-user messages, with their descriptors, on one connected stream socket.

Rules of this file:

* A message is looked at (MSG_PEEK), handled, and only then consumed: a process that dies in between leaves it in the
  socket for its successor.
* An answer is staged in a pipe before its message is consumed, and moves from there to the socket (splice), which takes
  it out of the one as it enters the other. So a successor finds an answer that is due, or the message, or neither.
* Descriptors come with the first byte of a message. They are counted, never truncated in silence (MSG_CTRUNC), and
  close-on-exec.
* A header that cannot be one (wrong version) means that the stream has lost its place: nothing after it can be trusted,
  and the connection ends. A message that is whole but cannot be taken, for its size or its descriptors, is read away
  and reported as ``unusable``, and the stream goes on.
"""

import array
import asyncio
import fcntl
import os
import select
import socket
import sys
import termios
import zlib
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
from ...state.live_words import LiveWords
from .descriptors import close_all

# Operators of IntFlag take microseconds, and there are two messages for every 256 frames.
_NEED_REPLY: Final = int(MessageFlag.NEED_REPLY)
_REPLY_FLAGS: Final = int(VERSION | MessageFlag.REPLY)
_PEEK_FLAGS: Final = int(socket.MSG_PEEK | socket.MSG_CMSG_CLOEXEC)
_TRUNCATED: Final = int(socket.MSG_CTRUNC)
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
        return bool(self.header.flags & _NEED_REPLY)

    @property
    def checksum(self) -> int:
        """By which a message is known again, never 0."""
        return zlib.crc32(self.payload, zlib.crc32(MESSAGE_HEADER.pack(self.header))) or 1


class Channel:
    """One connection. The socket belongs to the channel from now on.

    Args:
        connection: A connected Unix stream socket.
        staging: A pipe, opened for reading and writing (:func:`open_staging`); it stays the caller's.
        live: Where it is noted which message is being answered.
    """

    def __init__(self, connection: socket.socket, staging: int, live: LiveWords) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
        self._socket: Final = connection
        self._staging: Final = staging
        self._live: Final = live
        self._peek_offset = 0
        self._readable: Final = asyncio.Event()
        self._loop: Final = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._readable.set)

    async def peek(self) -> Message | None:
        """Wait for the next message and return it, still in the socket; None at the end of the stream.

        Raises:
            FrontEndError: The stream has lost its place.
            ConnectionError: The front-end broke off.
        """
        # Waiting first costs a look at an empty socket less, and gives others a turn behind every message.
        await self._readable.wait()
        self._rewind()
        with _Received() as received:
            if not await self._look(MESSAGE_HEADER.size, received):
                return None
            header = MESSAGE_HEADER.unpack_from(received.data, 0)
            if header.flags & VERSION_MASK != VERSION:
                raise FrontEndError(f"message {header.request} has version {header.flags & VERSION_MASK}")
            if header.size > MAX_PAYLOAD_BYTES:
                return Message(header, b"", (), f"{header.size} bytes of payload are more than {MAX_PAYLOAD_BYTES}")
            length = MESSAGE_HEADER.size + header.size
            if not await self._look(length, received):
                return None
            if received.truncated:
                return Message(header, b"", (), f"it came with more than {MAX_MESSAGE_FDS} descriptors")
            return Message(header, received.data[MESSAGE_HEADER.size : length], received.take(length))

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
            self._peek_offset = max(0, self._peek_offset - len(piece))
            if left:
                await asyncio.sleep(0)

    async def answer(self, message: Message, payload: bytes | None) -> None:
        """Take ``message`` out of the socket; answer it, where there is a ``payload`` to answer with.

        Raises:
            ConnectionError: The front-end is gone.
        """
        if payload is None:
            await self.consume(message)
            return
        header = MessageHeader(message.header.request, _REPLY_FLAGS, len(payload))
        self._live.answering = message.checksum
        staged = os.write(self._staging, MESSAGE_HEADER.pack(header) + payload)
        await self.consume(message)
        await self._send(staged)

    async def settle(self) -> None:
        """Finish an answer that an earlier process staged. Nothing is peeked at yet."""
        if not _readable_bytes(self._staging):
            return
        if self._has_message():
            message = await self.peek()
            if message is not None:
                close_all(message.fds)
                if message.checksum == self._live.answering:
                    await self.consume(message)
        await self._send(_readable_bytes(self._staging))

    async def _send(self, staged_bytes: int) -> None:
        while staged_bytes:
            try:
                staged_bytes -= os.splice(self._staging, self._socket.fileno(), staged_bytes, flags=_SPLICE_F_NONBLOCK)
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        writable = asyncio.Event()
        self._loop.add_writer(self._socket, writable.set)
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(self._socket)

    def _has_message(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def _rewind(self) -> None:
        """Look from the beginning again. The kernel moves on by what is looked at, and back by what is consumed."""
        if self._peek_offset:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
            self._peek_offset = 0

    def hung_up(self) -> bool:
        """Say whether the front-end has closed its end, whatever is still in the socket."""
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def _look(self, length: int, received: "_Received") -> bool:
        """Look on until ``length`` bytes have been seen, in however many pieces; False where the stream ends before."""
        pause_s = _FIRST_PAUSE_S
        while len(received.data) < length:
            self._readable.clear()
            try:
                more = self._look_once(received)
            except BlockingIOError:
                if received.data:
                    await self._pause(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                else:
                    await self._readable.wait()
                continue
            if not more:
                return False
        return True

    def _look_once(self, received: "_Received") -> bool:
        # Asking for more than there is makes the kernel stop behind the first piece that has descriptors. Asked for a
        # message's own length, it would hand out those of the message behind as well.
        space = socket.CMSG_SPACE(MAX_MESSAGE_FDS * _FD_BYTES)
        data, ancillary, flags, _ = self._socket.recvmsg(_LOOK_BYTES, space, _PEEK_FLAGS)
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % _FD_BYTES])
        received.add(data, tuple(fds), truncated=bool(flags & _TRUNCATED))
        self._peek_offset += len(data)
        return bool(data)

    async def _pause(self, pause_s: float) -> None:
        """Wait for the rest of a message whose beginning keeps the socket readable."""
        # Every front-end known sends a message in one piece, so a timer will do: what it must not do is spin.
        self._loop.remove_reader(self._socket)
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._loop.add_reader(self._socket, self._readable.set)


def open_staging() -> int:
    """Return a pipe for staging answers, opened for reading and writing; the caller closes it."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        return os.open(f"/proc/self/fd/{reading}", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(reading)
        os.close(writing)


def _readable_bytes(fd: int) -> int:
    answer = fcntl.ioctl(fd, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class _Received:
    """What was looked at, with descriptors by the end of the piece that had them; those not taken are closed."""

    def __init__(self) -> None:
        self.data = b""
        self.truncated = False
        self._fds: list[tuple[int, tuple[int, ...]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        for _, fds in self._fds:
            close_all(fds)

    def add(self, data: bytes, fds: tuple[int, ...], *, truncated: bool) -> None:
        """Take in one piece."""
        self.data += data
        self._fds.append((len(self.data), fds))
        self.truncated |= truncated

    def take(self, length: int) -> tuple[int, ...]:
        """Give away the descriptors that came within the first ``length`` bytes; what is behind is the next message."""
        taken = [fd for end, fds in self._fds if end <= length for fd in fds]
        self._fds = [(end, fds) for end, fds in self._fds if end > length]
        return tuple(taken)


_SPLICE_F_NONBLOCK: Final = 2
_SO_PEEK_OFF: Final = 42  # asm-generic/socket.h; the socket module has no name for it
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.5
_DISCARD_BYTES: Final = 1 << 16
_LOOK_BYTES: Final = 1 << 16  # more than any message
