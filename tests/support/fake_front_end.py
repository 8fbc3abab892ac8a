"""A VM monitor for tests: it speaks vhost-user, owns the guest's memory, and drives the guest's rings.

    FakeQueue       one ring from the driver's side, with its doorbells
    FakeGuest       memory in a memfd, and queues in it
    FakeFrontEnd    messages with descriptors out, replies in
    qemu_*, uml_*   the message orders of QEMU 10 and 11 and of user-mode Linux 6.1

A test reads as a message chart::

    vm.send(Request.SET_OWNER)
    assert await vm.number(Request.GET_QUEUE_NUM) == 5
    assert await vm.acknowledged(Request.SET_VRING_NUM, vring_state(0, 128)) == DONE
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import make_ring
from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME, PageFrame
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.header import MESSAGE_HEADER, VERSION, MessageFlag, MessageHeader
from protocol.vhost_user.payloads import (
    CONFIG_HEADER,
    MEMORY_REGION,
    MEMORY_TABLE_HEADER,
    SINGLE_REGION,
    U64,
    U64_PAYLOAD,
    VRING_ADDRESS,
    VRING_STATE,
    ConfigHeader,
    MemoryRegionDescription,
    MemoryTableHeader,
    SingleRegion,
    VringAddress,
    VringDescriptor,
    VringState,
)
from protocol.vhost_user.requests import BackendRequest, Request
from protocol.virtio import RingFeature

MIB: Final = 1 << 20
DONE: Final = 0
REFUSED: Final = 1
REPLY_FLAGS: Final = 0x5  # what QEMU compares a reply's flags with
USER_BASE: Final = 0x7F00_0000_0000  # where the front-end has mapped what the guest has at 0
NO_LOG: Final = (1 << 64) - 1

RING_FEATURES: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX

_PATIENCE_S: Final = 20.0  # a reply that does not come fails the test instead of hanging it
_RING_MEMORY_BYTES: Final = 4 * MIB
_SLOT_BYTES: Final = 1024
_MOST_SLOTS: Final = 256  # requests that a test makes before the first of them came back


def u64(value: int) -> bytes:
    return U64_PAYLOAD.pack(U64(value))


def vring_state(ring: int, num: int = 0) -> bytes:
    return VRING_STATE.pack(VringState(ring, num))


def vring_fd(ring: int, *, none: bool = False) -> bytes:
    return u64(ring | (VringDescriptor.NO_FD if none else 0))


def config_piece(offset: int, data: bytes, *, flags: int = 0) -> bytes:
    return CONFIG_HEADER.pack(ConfigHeader(offset, len(data), flags)) + data


def memory_table(regions: Sequence[MemoryRegionDescription], *, room_for: int = 0) -> bytes:
    """The payload of SET_MEM_TABLE; Linux 6.1 sends one with ``room_for`` two regions whatever it has."""
    table = MEMORY_TABLE_HEADER.pack(MemoryTableHeader(len(regions), 0))
    table += b"".join(MEMORY_REGION.pack(region) for region in regions)
    return table.ljust(MEMORY_TABLE_HEADER.size + room_for * MEMORY_REGION.size, b"\0")


def single_region(region: MemoryRegionDescription) -> bytes:
    return SINGLE_REGION.pack(SingleRegion(0, *region))


def pfns(numbers: Iterable[int]) -> bytes:
    """The array that an inflate or deflate request carries."""
    return b"".join(PAGE_FRAME.pack(PageFrame(number)) for number in numbers)


def event() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


class FakeQueue:
    """One ring as its driver sees it."""

    def __init__(self, guest: "FakeGuest", index: int, size: int, features: int) -> None:
        self.index: Final = index
        self.size: Final = size
        self.ring, self.areas = make_ring(guest.ram, guest, features, size)
        self.addresses: Final = self.ring.addresses
        self.kick_fd: Final = event()
        self.call_fd: Final = event()
        self.error_fd: Final = event()
        self._guest: Final = guest
        self._slot_count: Final = min(size, _MOST_SLOTS)
        self._slots: Final = guest.alloc(self._slot_count * _SLOT_BYTES)
        self._added = 0

    def add(self, data: bytes) -> int:
        """Make a buffer with ``data`` available; return its head."""
        assert len(data) <= _SLOT_BYTES
        slot = self._slots + self._added % self._slot_count * _SLOT_BYTES
        self._added += 1
        self._guest.ram.write(slot, data)
        return self.ring.add(self._guest.guest_address(slot), len(data))

    def kick(self) -> None:
        """Ring, whether the device asked for it or not."""
        os.eventfd_write(self.kick_fd, 1)

    def request(self, data: bytes) -> int:
        """Make a buffer with ``data`` available and kick."""
        head = self.add(data)
        self.kick()
        return head

    async def used(self) -> int:
        """Wait for the next buffer that comes back, by its notification; return its head."""
        async with asyncio.timeout(_PATIENCE_S):
            while (head := self.ring.get_used()) is None:
                await readable(self.call_fd)
                os.eventfd_read(self.call_fd)
        return head

    async def served(self, data: bytes) -> None:
        """Make a request and wait until it is completed."""
        head = self.request(data)
        assert await self.used() == head

    def close(self) -> None:
        self.ring.close()
        for fd in (self.kick_fd, self.call_fd, self.error_fd):
            os.close(fd)


class FakeGuest:
    """A guest's memory, in one memfd, and the queues that its driver sets up.

    Args:
        ram_bytes: Size of the memory file.
        regions: How pieces of the file appear to guest and front-end; by default all of it, from address 0.
        home: Which of them has the driver's own memory, at its beginning.
    """

    def __init__(
        self, ram_bytes: int = 16 * MIB, regions: Sequence[MemoryRegionDescription] | None = None, *, home: int = 0
    ) -> None:
        self.ram: Final = Ram(ram_bytes, "fake")
        self.regions = tuple(regions or (MemoryRegionDescription(0, ram_bytes, USER_BASE, 0),))
        self.queues: dict[int, FakeQueue] = {}
        self._base: Final = self.regions[home].mmap_offset
        self._memory: Final = KernelMemory(_RING_MEMORY_BYTES)
        self._files: Final[dict[MemoryRegionDescription, Ram]] = {}

    def add_region(self, guest_address: int, size_bytes: int) -> Ram:
        """Give the guest a region behind the others, from the beginning of a memory file of its own; return that."""
        region = MemoryRegionDescription(guest_address, size_bytes, USER_BASE + guest_address, 0)
        self.regions += (region,)
        self._files[region] = Ram(size_bytes, "fake")
        return self._files[region]

    def fd_of(self, region: MemoryRegionDescription) -> int:
        """The memory file of a region."""
        return self._files.get(region, self.ram).fd

    def alloc(self, size_bytes: int) -> int:
        """Return the place in the memory file of a piece of the driver's own memory."""
        return self._base + self._memory.alloc(size_bytes)

    def guest_address(self, offset: int) -> int:
        region = self._region_at(offset)
        return offset - region.mmap_offset + region.guest_address

    def user_address(self, offset: int) -> int:
        region = self._region_at(offset)
        return offset - region.mmap_offset + region.user_address

    def first_free_pfn(self) -> int:
        """The first frame behind the driver's own memory."""
        return self.guest_address(self._base + _RING_MEMORY_BYTES) // FRAME_BYTES

    def touch_own_memory(self) -> None:
        """Use all of the driver's own memory, so that nothing further of it is touched later."""
        self.ram.touch(self._base // FRAME_BYTES, _RING_MEMORY_BYTES // FRAME_BYTES)

    def touch(self, first_pfn: int, count: int) -> None:
        """Use frames of the first region, so that the host has to have them."""
        region = self.regions[0]
        offset = first_pfn * FRAME_BYTES - region.guest_address + region.mmap_offset
        self.ram.touch(offset // FRAME_BYTES, count)

    def resident_bytes(self) -> int:
        return os.fstat(self.ram.fd).st_blocks * 512

    def add_queue(
        self, index: int, size: int = 128, *, event_idx: bool = True, packed: bool = False, in_order: bool = False
    ) -> FakeQueue:
        """Set up a fresh queue in memory, in the place of one with the same number."""
        features = (RingFeature.EVENT_IDX if event_idx else 0) | (RingFeature.RING_PACKED if packed else 0)
        if index in self.queues:
            self.queues[index].close()
        self.queues[index] = FakeQueue(self, index, size, features)
        self.queues[index].ring.in_order = in_order
        return self.queues[index]

    def vring_address(self, index: int) -> VringAddress:
        areas = self.queues[index].areas
        return VringAddress(
            ring=index,
            flags=0,
            descriptor=self.user_address(areas.descriptors),
            used=self.user_address(areas.device_area),
            available=self.user_address(areas.driver_area),
            log=NO_LOG,
        )

    def close(self) -> None:
        for queue in self.queues.values():
            queue.close()
        for ram in (self.ram, *self._files.values()):
            ram.close()

    def _region_at(self, offset: int) -> MemoryRegionDescription:
        """The region in which a place of the first memory file lies."""
        places = (place for place in self.regions if place not in self._files)
        return next(place for place in places if 0 <= offset - place.mmap_offset < place.memory_size)


@dataclass(frozen=True, slots=True)
class Reply:
    request: int
    flags: int
    payload: bytes


class FakeFrontEnd:
    """The front-end's end of one connection.

    ``need_reply`` and ``need_reply_to_questions`` say what :meth:`tell` and :meth:`ask` set NEED_REPLY on: front-ends
    differ in that.

    Args:
        connection: A connected socket, which belongs to the front-end from now on.
        guest: Its guest.
    """

    def __init__(self, connection: socket.socket, guest: FakeGuest) -> None:
        connection.setblocking(False)
        self.guest: Final = guest
        self.need_reply = False
        self.need_reply_to_questions = False
        self._socket: Final = connection
        self._backend_channel: socket.socket | None = None

    @classmethod
    async def connect(cls, path: Path, guest: FakeGuest) -> Self:
        """Connect as a VM monitor does that is started when the daemon listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, str(path))
        return cls(connection, guest)

    def send(self, request: int, payload: bytes = b"", fds: Sequence[int] = (), *, need_reply: bool = False) -> None:
        """Send a message in one piece."""
        self.send_bytes(message(request, payload, need_reply=need_reply), fds)

    def send_bytes(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes, whatever they are, with descriptors on the first of them."""
        assert socket.send_fds(self._socket, [data], list(fds)) == len(data)

    async def reply(self) -> Reply:
        """Wait for the next reply."""
        header = MESSAGE_HEADER.unpack(await self._receive(self._socket, MESSAGE_HEADER.size))
        return Reply(header.request, header.flags, await self._receive(self._socket, header.size))

    async def reply_to(self, request: int) -> bytes:
        """Return the payload of the next reply, which must be one to ``request`` that QEMU accepts."""
        reply = await self.reply()
        assert (reply.request, reply.flags) == (request, REPLY_FLAGS)
        return reply.payload

    async def ask(self, request: int, payload: bytes = b"") -> bytes:
        """Send a question and return what is answered."""
        self.send(request, payload, need_reply=self.need_reply_to_questions)
        return await self.reply_to(request)

    async def number(self, request: int) -> int:
        """Ask for a number."""
        return U64_PAYLOAD.unpack(await self.ask(request)).value

    async def acknowledged(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> int:
        """Send a message that wants an acknowledgement; return it."""
        self.send(request, payload, fds, need_reply=True)
        return U64_PAYLOAD.unpack(await self.reply_to(request)).value

    async def tell(self, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message that must succeed, and wait for its acknowledgement where the front-end does that."""
        if self.need_reply:
            assert await self.acknowledged(request, payload, fds) == DONE, request
        else:
            self.send(request, payload, fds)

    async def caught_up(self) -> None:
        """Wait until the back-end has handled all that was sent. It must not have answered anything of that."""
        await self.number(Request.GET_QUEUE_NUM)

    async def vring_base(self, ring: int) -> int:
        """Stop a ring; return the position that is answered."""
        state = VRING_STATE.unpack(await self.ask(Request.GET_VRING_BASE, vring_state(ring)))
        assert state.ring == ring
        return state.num

    async def config(self, offset: int = 0, length: int = 16, *, flags: int = 0) -> bytes:
        """Read configuration space as all front-ends do: they want the very size back that they sent."""
        answer = await self.ask(Request.GET_CONFIG, config_piece(offset, bytes(length), flags=flags))
        assert len(answer) == CONFIG_HEADER.size + length
        assert CONFIG_HEADER.unpack_from(answer, 0) == ConfigHeader(offset, length, flags)
        return answer[CONFIG_HEADER.size :]

    def open_backend_channel(self) -> int:
        """Make the channel on which the back-end speaks first; return the end to hand over, which the caller closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        if self._backend_channel is not None:
            self._backend_channel.close()
        self._backend_channel = ours
        return theirs.detach()

    async def config_change(self) -> None:
        """Wait for the announcement of a config change."""
        assert self._backend_channel is not None
        header = MESSAGE_HEADER.unpack(await self._receive(self._backend_channel, MESSAGE_HEADER.size))
        assert header == MessageHeader(BackendRequest.CONFIG_CHANGE_MSG, VERSION, 0)

    def config_change_waits(self) -> bool:
        """Say whether the back-end has sent anything on its channel."""
        assert self._backend_channel is not None
        try:
            return bool(self._backend_channel.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def close_backend_channel(self) -> None:
        assert self._backend_channel is not None
        self._backend_channel.close()

    async def ended(self) -> None:
        """Wait until the back-end has closed the connection, with whatever was sent unread in it."""
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(_PATIENCE_S):
                while await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16):
                    pass

    def close(self) -> None:
        self._socket.close()
        if self._backend_channel is not None:
            self._backend_channel.close()

    # Messages that take a queue's descriptors and places.

    def send_kick(self, index: int) -> None:
        self.send(Request.SET_VRING_KICK, vring_fd(index), [self.guest.queues[index].kick_fd])

    def send_call(self, index: int) -> None:
        self.send(Request.SET_VRING_CALL, vring_fd(index), [self.guest.queues[index].call_fd])

    def send_error(self, index: int) -> None:
        self.send(Request.SET_VRING_ERR, vring_fd(index), [self.guest.queues[index].error_fd])

    def send_address(self, index: int) -> None:
        self.send(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(self.guest.vring_address(index)))

    def memory_fds(self) -> list[int]:
        return [self.guest.fd_of(region) for region in self.guest.regions]

    async def _receive(self, connection: socket.socket, length: int) -> bytes:
        data = b""
        async with asyncio.timeout(_PATIENCE_S):
            while len(data) < length:
                piece = await asyncio.get_running_loop().sock_recv(connection, length - len(data))
                assert piece, "the back-end closed the connection"
                data += piece
        return data


def message(request: int, payload: bytes = b"", *, need_reply: bool = False, version: int = VERSION) -> bytes:
    """A message as it stands on the wire."""
    flags = version | (MessageFlag.NEED_REPLY if need_reply else 0)
    return MESSAGE_HEADER.pack(MessageHeader(request, flags, len(payload))) + payload


# QEMU 10 and 11 with the generic device.

QEMU_QUEUES: Final = 5


async def qemu_connect(vm: FakeFrontEnd, *, protocol_features: int | None = None) -> int:
    """What QEMU says when it connects; return the features on offer. No memory comes before the guest's driver does."""
    assert await vm.number(Request.GET_FEATURES) & F_PROTOCOL_FEATURES
    offered = await vm.number(Request.GET_PROTOCOL_FEATURES)
    taken = offered if protocol_features is None else protocol_features
    vm.send(Request.SET_PROTOCOL_FEATURES, u64(taken))
    if taken & ProtocolFeature.MQ:
        assert await vm.number(Request.GET_QUEUE_NUM) == QEMU_QUEUES
    if taken & ProtocolFeature.CONFIGURE_MEM_SLOTS:
        assert 8 <= await vm.number(Request.GET_MAX_MEM_SLOTS) <= 512
    fd = vm.open_backend_channel()
    try:
        assert await vm.acknowledged(Request.SET_BACKEND_REQ_FD, fds=[fd]) == DONE
    finally:
        os.close(fd)
    vm.send(Request.SET_OWNER)
    features = await vm.number(Request.GET_FEATURES)
    for index in range(QEMU_QUEUES):
        spare = event()
        vm.send(Request.SET_VRING_CALL, vring_fd(index), [spare])
        queue = vm.guest.queues.get(index)
        vm.send(Request.SET_VRING_ERR, vring_fd(index), [queue.error_fd if queue else spare])
        os.close(spare)
    await vm.caught_up()
    return features


async def qemu_start(
    vm: FakeFrontEnd,
    features: int,
    *,
    memory: Request | None = Request.ADD_MEM_REG,
    bases: dict[int, int] | None = None,
) -> None:
    """What QEMU says when the guest's driver is ready, or the VM goes on: ``bases`` are then where its rings stopped.

    ``memory`` is None at a second start with memory slots, where QEMU sends none again.
    """
    vm.send(Request.SET_FEATURES, u64(features | F_PROTOCOL_FEATURES))
    match memory:
        case Request.ADD_MEM_REG:
            for region in vm.guest.regions:
                assert await vm.acknowledged(memory, single_region(region), [vm.guest.ram.fd]) == DONE
        case Request.SET_MEM_TABLE:
            assert await vm.acknowledged(memory, memory_table(vm.guest.regions), vm.memory_fds()) == DONE
    for index, queue in vm.guest.queues.items():
        vm.send(Request.SET_VRING_NUM, vring_state(index, queue.size))
        vm.send(Request.SET_VRING_BASE, vring_state(index, (bases or {}).get(index, 0)))
        vm.send_address(index)
        vm.send_kick(index)
        vm.send_call(index)
    for index in range(QEMU_QUEUES):
        assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 1)) == DONE
    for index in range(QEMU_QUEUES):
        if index in vm.guest.queues:
            vm.send_call(index)
        else:
            vm.send(Request.SET_VRING_CALL, vring_fd(index, none=True))
    await vm.caught_up()


async def qemu_stop(vm: FakeFrontEnd) -> dict[int, int]:
    """What QEMU says when the guest resets the device or the VM stops; return where the rings stopped."""
    for index in range(QEMU_QUEUES):
        assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 0)) == DONE
    return {index: await vm.vring_base(index) for index in vm.guest.queues}


# User-mode Linux 6.1: with REPLY_ACK, every message that is no question wants an acknowledgement.

UML_PROTOCOL_FEATURES: Final = ProtocolFeature.REPLY_ACK | ProtocolFeature.BACKEND_REQ | ProtocolFeature.CONFIG


async def uml_connect(vm: FakeFrontEnd) -> int:
    """What user-mode Linux says at boot; return the features on offer."""
    vm.send(Request.SET_OWNER)
    features = await vm.number(Request.GET_FEATURES)
    offered = await vm.number(Request.GET_PROTOCOL_FEATURES)
    taken = offered & UML_PROTOCOL_FEATURES
    # NEED_REPLY on the very message that negotiates it; left unanswered, the kernel hangs with interrupts off.
    assert await vm.acknowledged(Request.SET_PROTOCOL_FEATURES, u64(taken)) == DONE
    fd = vm.open_backend_channel()
    try:
        assert await vm.acknowledged(Request.SET_BACKEND_REQ_FD, fds=[fd]) == DONE
    finally:
        os.close(fd)
    return features


async def uml_probe(vm: FakeFrontEnd, features: int) -> None:
    """What user-mode Linux says when its driver is loaded: one region in a payload for two, kicks behind all rings."""
    assert await vm.acknowledged(Request.SET_FEATURES, u64(features)) == DONE
    table = memory_table(vm.guest.regions, room_for=2)
    assert len(table) == 72
    assert await vm.acknowledged(Request.SET_MEM_TABLE, table, vm.memory_fds()) == DONE
    queues = vm.guest.queues
    for index, queue in queues.items():
        assert await vm.acknowledged(Request.SET_VRING_CALL, vring_fd(index), [queue.call_fd]) == DONE
        assert await vm.acknowledged(Request.SET_VRING_NUM, vring_state(index, queue.size)) == DONE
        assert await vm.acknowledged(Request.SET_VRING_BASE, vring_state(index, 0)) == DONE
        address = VRING_ADDRESS.pack(vm.guest.vring_address(index))
        assert await vm.acknowledged(Request.SET_VRING_ADDR, address) == DONE
    for index, queue in queues.items():
        assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(index), [queue.kick_fd]) == DONE
        if features & F_PROTOCOL_FEATURES:
            assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 1)) == DONE


async def uml_remove(vm: FakeFrontEnd) -> None:
    """What user-mode Linux says when its driver is removed: it frees the rings after this, and asks for no position."""
    assert await vm.acknowledged(Request.SET_CONFIG, config_piece(4, bytes(4))) == DONE
    for index in reversed(vm.guest.queues):
        assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 0)) == DONE
    await vm.number(Request.GET_FEATURES)


async def readable(fd: int) -> None:
    """Wait until something can be read from a descriptor."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
