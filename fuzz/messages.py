"""Vhost-user messages that are wrong, late, cut off, or come with the wrong descriptors.

A step takes what a monitor would say until its rings run, spoils it in a few places, and says it in pieces of any size,
up to any byte. Whatever that was, the next front-end must be served.
"""

import contextlib
import os
import select
import socket
import tempfile
from pathlib import Path
from random import Random
from typing import Final

from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.header import MESSAGE_HEADER, VERSION, MessageFlag, MessageHeader
from protocol.vhost_user.payloads import CONFIG_HEADER, ConfigHeader
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

from .front_end import FrontEnd, Said, config_write, u64, vring_state
from .numbers import number, scribbled
from .vm import BALLOON_FEATURES, MIB, OWN_BYTES, RING_FEATURES, Vm
from .worker import Note

_PATIENCE_S: Final = 0.2
"""How long a daemon is waited for that does not take in more, since nobody takes its replies."""

_SILENCE_S: Final = 0.05

_SIZES: Final = (1, 2, 8, 64, 128, 256)
_MOST_DESCRIPTORS: Final = 40


class Messages:
    """Says them to the balloon at ``path``, from a connection for each step."""

    def __init__(self, name: str, path: Path) -> None:
        self.name: Final = name
        self._path: Final = path
        self._junk: list[int] = []

    def step(self, random: Random, note: Note) -> None:
        """Connect, talk nonsense, leave; and see that another front-end is served."""
        if not self._junk:
            self._junk = odd_descriptors()
        vm = Vm(_features(random), random.choice(_SIZES), OWN_BYTES + 2 * MIB)
        try:
            said = [*vm.monitor.conversation(table=random.random() < 0.5), *_more(random)]
            if random.random() < 0.5:
                said += _started_otherwise(random, vm)
            said = self._spoil(random, said, note)
            with FrontEnd(self._path) as front_end:
                front_end.socket.settimeout(_PATIENCE_S)
                with contextlib.suppress(OSError):
                    self._say(random, front_end.socket, said, vm, note)
        finally:
            vm.close()
        FrontEnd.welcomed(self._path).socket.close()

    def rest(self) -> None:
        """Close the odd descriptors."""
        for fd in self._junk:
            os.close(fd)
        self._junk = []

    def _spoil(self, random: Random, said: list[Said], note: Note) -> list[Said]:
        for _ in range(random.choice((0, 1, 1, 2, 4, 20))):
            at = random.randrange(len(said))
            kind = random.randrange(7)
            note(f"spoils message {at} of {len(said)}, request {said[at].request}, by way {kind}")
            message = said[at]
            match kind:
                case 0:
                    said[at] = message._replace(payload=scribbled(random, message.payload))
                case 1:
                    said[at] = message._replace(request=random.choice((*range(45), 0xFFFF_FFFF)))
                case 2:
                    said[at] = message._replace(fds=self._descriptors(random, message.fds))
                case 3:
                    said.insert(random.randrange(len(said) + 1), message)
                case 4 if len(said) > 1:
                    del said[at]
                case 5:
                    other = random.randrange(len(said))
                    said[at], said[other] = said[other], said[at]
                case _:
                    said.insert(at, Said(random.choice(list(Request)), u64(number(random, 64))))
        return said

    def _descriptors(self, random: Random, fds: tuple[int, ...]) -> tuple[int, ...]:
        count = random.choice((0, 1, 1, 1, 2, 8, 32, 33, _MOST_DESCRIPTORS))
        return tuple(random.choice((*self._junk, *fds)) for _ in range(count))

    def _say(self, random: Random, connection: socket.socket, said: list[Said], vm: Vm, note: Note) -> None:
        listens = random.random() < 0.8
        for message in said:
            data = message.wire()
            header_is = random.random()
            if header_is < 0.02:
                note("lies about a size, a version, or anything in a header")
                data = scribbled(random, data[: MESSAGE_HEADER.size]) + data[MESSAGE_HEADER.size :]
            elif header_is < 0.5:
                header = MessageHeader(message.request, VERSION | MessageFlag.NEED_REPLY, len(message.payload))
                data = MESSAGE_HEADER.pack(header) + message.payload
            if random.random() < 0.01:
                data = data[: random.randrange(len(data) + 1)]
                _send(random, connection, data, message.fds)
                note(f"ends within request {message.request}, after {len(data)} bytes")
                return
            _send(random, connection, data, message.fds)
            if random.random() < 0.1:
                vm.monitor.kick(random.choice(list(vm.monitor.doorbells)))
            if random.random() < 0.01:
                note("a second front-end comes")
                FrontEnd(self._path).socket.close()
            if listens:
                _hear(connection)
        if random.random() < 0.2:
            connection.shutdown(socket.SHUT_WR)
        if random.random() < 0.8:
            _hear_out(connection)


def odd_descriptors() -> list[int]:
    """Return descriptors that are no memory or no doorbell, or bad ones of both."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(4096))
        file.flush()
        regular = [os.dup(file.fileno()), os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)]
    small, large = (os.memfd_create("fuzz-odd", os.MFD_CLOEXEC) for _ in range(2))
    os.ftruncate(small, 4097)
    os.ftruncate(large, 1 << 30)
    ours, theirs = socket.socketpair()
    with select.epoll() as epoll:
        poll = os.dup(epoll.fileno())
    full = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    os.eventfd_write(full, (1 << 64) - 2)
    return [
        *(*regular, small, large, ours.detach(), theirs.detach(), full, *os.pipe()),
        *(os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/", "/dev/null", "/dev/zero")),
        os.open("/", os.O_PATH | os.O_CLOEXEC),
        os.eventfd(1, os.EFD_SEMAPHORE | os.EFD_CLOEXEC),
        poll,
    ]


def _features(random: Random) -> int:
    any_of = BALLOON_FEATURES | RING_FEATURES | RingFeature.RING_PACKED
    return int(RingFeature.VERSION_1) | random.getrandbits(64) & any_of


def _started_otherwise(random: Random, vm: Vm) -> list[Said]:
    """Return what sets the rings up once more: with other features, and at positions from before that or none."""
    said = vm.monitor.start(_features(random))
    if random.random() < 0.5:
        said = [message for message in said if message.request != Request.SET_VRING_BASE]
        positions = (0x10000, 0x8000_0000, 0x8000_8000, number(random, 32))
        bases = [Said(Request.SET_VRING_BASE, vring_state(ring, random.choice(positions))) for ring in range(2)]
        said = [*bases, *said] if random.random() < 0.8 else [said[0], *bases, *said[1:]]
    return said


def _more(random: Random) -> list[Said]:
    """Return what a monitor may say when its rings run."""
    index = random.randrange(6)
    every = [
        Said(Request.GET_CONFIG, CONFIG_HEADER.pack(ConfigHeader(0, 16, 0)) + bytes(16)),
        config_write(number(random, 8), random.randbytes(random.randrange(32))),
        Said(Request.GET_VRING_BASE, vring_state(index)),
        Said(Request.SET_VRING_ENABLE, vring_state(index, random.randrange(2))),
        Said(Request.SET_VRING_BASE, vring_state(index, number(random, 32))),
        Said(Request.SET_VRING_NUM, vring_state(index, number(random, 32))),
        Said(Request.RESET_DEVICE),
        Said(Request.RESET_OWNER),
        Said(Request.GET_FEATURES),
        Said(Request.GET_QUEUE_NUM),
        Said(Request.GET_MAX_MEM_SLOTS),
        Said(Request.SET_FEATURES, u64(RingFeature.VERSION_1 | F_PROTOCOL_FEATURES)),
    ]
    return random.choices(every, k=random.randrange(8))


def _send(random: Random, connection: socket.socket, data: bytes, fds: tuple[int, ...]) -> None:
    """Send in one piece as a rule, else in several; descriptors come with the first."""
    cut = random.randrange(1, len(data) + 1) if data and random.random() < 0.1 else len(data)
    if data:
        socket.send_fds(connection, [data[:cut]], fds)
        connection.sendall(data[cut:])


def _hear_out(connection: socket.socket) -> None:
    """Listen until nothing more comes: who closes earlier cuts off the daemon within what was said."""
    connection.settimeout(_SILENCE_S)
    while connection.recv(4096):
        pass


def _hear(connection: socket.socket) -> None:
    if select.select([connection], [], [], 0)[0]:
        connection.recv(4096)
