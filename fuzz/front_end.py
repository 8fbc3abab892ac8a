"""A VM monitor's end of a vhost-user connection, on a blocking socket."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from protocol.vhost_user.header import MESSAGE_HEADER, VERSION, MessageFlag, MessageHeader
from protocol.vhost_user.payloads import CONFIG_HEADER, U64, U64_PAYLOAD, VRING_STATE, ConfigHeader, VringState
from protocol.vhost_user.requests import Request

from .finding import Finding

PATIENCE_S: Final = 30.0
"""What is not answered by then, with all the garbage beside it, is a finding."""

_RETRY_S: Final = 0.01


class Said(NamedTuple):
    """A message and the descriptors that come along, which stay the speaker's."""

    request: int
    payload: bytes = b""
    fds: tuple[int, ...] = ()

    def wire(self, flags: int = VERSION) -> bytes:
        """Return the message as it stands on the wire."""
        return MESSAGE_HEADER.pack(MessageHeader(self.request, flags, len(self.payload))) + self.payload


class FrontEnd:
    """A connection to the balloon whose socket is at ``path``.

    A daemon that does not answer within :data:`PATIENCE_S`, or closes the connection, is a :class:`Finding`.
    """

    def __init__(self, path: Path) -> None:
        self.socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.connect(str(path))
        except OSError as error:
            self.socket.close()
            raise Finding(f"{path.name} cannot be connected: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.socket.close()

    @classmethod
    def welcomed(cls, path: Path) -> Self:
        """Connect to a daemon that may still be busy leaving the front-end before, until it answers."""
        ends_at_s = time.monotonic() + PATIENCE_S
        while True:
            front_end = cls(path)
            try:
                front_end.features()
            except Finding:
                front_end.socket.close()
                if time.monotonic() > ends_at_s:
                    raise
                time.sleep(_RETRY_S)
            else:
                return front_end

    def features(self) -> int:
        """Return the features on offer."""
        return U64_PAYLOAD.unpack(self.ask(Said(Request.GET_FEATURES))).value

    def do(self, said: Sequence[Said]) -> None:
        """Say all, and have each acknowledged. REPLY_ACK must be negotiated, or be so with the first of them."""
        for message in said:
            self._send(message, VERSION | MessageFlag.NEED_REPLY)
            refused = U64_PAYLOAD.unpack(self._reply_to(message)).value
            if refused:
                raise Finding(f"{_name(message.request)} was refused")

    def ask(self, said: Said) -> bytes:
        """Say what has a reply of its own; return its payload."""
        self._send(said, VERSION)
        return self._reply_to(said)

    def read_config(self, length: int) -> bytes:
        """Return the beginning of the configuration space."""
        reply = self.ask(Said(Request.GET_CONFIG, CONFIG_HEADER.pack(ConfigHeader(0, length, 0)) + bytes(length)))
        return reply[CONFIG_HEADER.size :]

    def stop_ring(self, index: int) -> int:
        """Stop a ring; return its position."""
        return VRING_STATE.unpack(self.ask(Said(Request.GET_VRING_BASE, vring_state(index)))).num

    def _send(self, said: Said, flags: int) -> None:
        try:
            socket.send_fds(self.socket, [said.wire(flags)], said.fds)
        except OSError as error:
            raise Finding(f"{_name(said.request)} cannot be sent: {error}") from error

    def _reply_to(self, said: Said) -> bytes:
        header = MESSAGE_HEADER.unpack(self._receive(MESSAGE_HEADER.size, said))
        payload = self._receive(header.size, said)
        if (header.request, header.flags) != (said.request, VERSION | MessageFlag.REPLY):
            raise Finding(f"{_name(said.request)} was answered by {header}")
        return payload

    def _receive(self, length: int, said: Said) -> bytes:
        data = b""
        while len(data) < length:
            try:
                piece = self.socket.recv(length - len(data))
            except OSError as error:
                raise Finding(f"{_name(said.request)} is not answered: {error}") from error
            if not piece:
                raise Finding(f"{_name(said.request)} ended the connection")
            data += piece
        return data


def vring_state(ring: int, num: int = 0) -> bytes:
    """Return the payload of messages that say one number of a ring."""
    return VRING_STATE.pack(VringState(ring, num))


def u64(value: int) -> bytes:
    """Return the payload of messages that say one number."""
    return U64_PAYLOAD.pack(U64(value))


def config_write(offset: int, data: bytes) -> Said:
    """Return SET_CONFIG."""
    return Said(Request.SET_CONFIG, CONFIG_HEADER.pack(ConfigHeader(offset, len(data), 0)) + data)


def _name(request: int) -> str:
    try:
        return Request(request).name
    except ValueError:
        return f"message {request}"
