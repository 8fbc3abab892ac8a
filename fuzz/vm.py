"""A guest's memory, its rings and doorbells, and what its monitor says to have them served.

Rules of this file:

* Rings are zeroed and lie at the bottom of memory, below :data:`OWN_BYTES`; the rest is the guest's to give.
* A user address is the guest-physical one plus :data:`USER_BASE`, so that who confuses the two is found out.
"""

import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import Ring, RingAreas, make_ring
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.packed_ring import FRESH_BASE
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.header import MESSAGE_HEADER
from protocol.vhost_user.payloads import (
    MEMORY_REGION,
    MEMORY_TABLE_HEADER,
    SINGLE_REGION,
    VRING_ADDRESS,
    MemoryRegionDescription,
    MemoryTableHeader,
    SingleRegion,
    VringAddress,
)
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

from .finding import Finding
from .front_end import PATIENCE_S, Said, u64, vring_state

MIB: Final = 1 << 20
USER_BASE: Final = 0x7F00_0000_0000
OWN_BYTES: Final = 2 * MIB

BALLOON_FEATURES: Final = int(
    BalloonFeature.MUST_TELL_HOST
    | BalloonFeature.STATS_VQ
    | BalloonFeature.DEFLATE_ON_OOM
    | BalloonFeature.FREE_PAGE_HINT
    | BalloonFeature.PAGE_POISON
    | BalloonFeature.PAGE_REPORTING
)
RING_FEATURES: Final = int(RingFeature.EVENT_IDX | RingFeature.INDIRECT_DESC | RingFeature.IN_ORDER)
PROTOCOL_FEATURES: Final = int(
    ProtocolFeature.MQ
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.BACKEND_REQ
    | ProtocolFeature.CONFIG
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
)


class Doorbells(NamedTuple):
    """A ring's descriptors."""

    kick: int
    call: int
    error: int

    @classmethod
    def make(cls) -> Self:
        """Return new eventfds."""
        return cls(*(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(3)))


@dataclass
class Monitor:
    """What a monitor hands over: memory, rings by number, doorbells, and the channel on which it is told of changes."""

    ram: Ram
    regions: Sequence[range]
    features: int
    queue_size: int
    areas: Mapping[int, RingAreas]
    doorbells: dict[int, Doorbells] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.channel, self._their_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.channel.settimeout(PATIENCE_S)
        self.doorbells = {index: Doorbells.make() for index in self.areas}

    def conversation(self, *, table: bool) -> list[Said]:
        """Return what is said until the rings run; memory comes as a table, or region by region."""
        return [
            Said(Request.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES)),
            Said(Request.SET_OWNER),
            Said(Request.SET_BACKEND_REQ_FD, b"", (self._their_channel.fileno(),)),
            *(self._memory_table() if table else self._memory_regions()),
            *self.start(),
        ]

    def start(self, features: int | None = None) -> list[Said]:
        """Return what is said to have fresh rings served, when memory is known; with other ``features``, to confuse."""
        acknowledged = self.features if features is None else features
        return [
            Said(Request.SET_FEATURES, u64(acknowledged | F_PROTOCOL_FEATURES)),
            *(said for index in self.areas for said in self._ring(index)),
            *(Said(Request.SET_VRING_ENABLE, vring_state(index, 1)) for index in self.areas),
        ]

    def kick(self, index: int) -> None:
        """Ring a doorbell."""
        os.eventfd_write(self.doorbells[index].kick, 1)

    def wait_for_call(self, index: int, until_s: float) -> bool:
        """Wait for a notification until ``until_s`` of the monotonic clock; say whether it came."""
        fd = self.doorbells[index].call
        ready, _, _ = select.select([fd], [], [], max(0.0, until_s - time.monotonic()))
        if ready:
            os.eventfd_read(fd)
        return bool(ready)

    def await_config_change(self) -> None:
        """Wait until the back-end announces a change of the configuration space."""
        try:
            announced = self.channel.recv(MESSAGE_HEADER.size)
        except OSError as error:
            raise Finding(f"a config change is not announced: {error}") from error
        if len(announced) != MESSAGE_HEADER.size:
            raise Finding(f"the back-end's channel brings {announced!r}")

    def close(self) -> None:
        """Close everything but the memory."""
        self.channel.close()
        self._their_channel.close()
        for doorbells in self.doorbells.values():
            for fd in doorbells:
                os.close(fd)

    def _descriptions(self) -> list[MemoryRegionDescription]:
        return [
            MemoryRegionDescription(part.start, len(part), USER_BASE + part.start, part.start) for part in self.regions
        ]

    def _memory_table(self) -> list[Said]:
        regions = self._descriptions()
        table = MEMORY_TABLE_HEADER.pack(MemoryTableHeader(len(regions), 0)) + b"".join(
            map(MEMORY_REGION.pack, regions)
        )
        return [Said(Request.SET_MEM_TABLE, table, (self.ram.fd,) * len(regions))]

    def _memory_regions(self) -> list[Said]:
        return [
            Said(Request.ADD_MEM_REG, SINGLE_REGION.pack(SingleRegion(0, *region)), (self.ram.fd,))
            for region in self._descriptions()
        ]

    def _ring(self, index: int) -> list[Said]:
        descriptors, driver_area, device_area = (USER_BASE + address for address in self.areas[index])
        address = VringAddress(index, 0, descriptors, device_area, driver_area, (1 << 64) - 1)
        doorbells = self.doorbells[index]
        packed = self.features & RingFeature.RING_PACKED
        return [
            Said(Request.SET_VRING_NUM, vring_state(index, self.queue_size)),
            Said(Request.SET_VRING_BASE, vring_state(index, FRESH_BASE if packed else 0)),
            Said(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(address)),
            Said(Request.SET_VRING_ERR, u64(index), (doorbells.error,)),
            Said(Request.SET_VRING_CALL, u64(index), (doorbells.call,)),
            Said(Request.SET_VRING_KICK, u64(index), (doorbells.kick,)),
        ]


class Vm:
    """A guest with a driver's rings in it, in the format and for the queues that ``features`` say.

    Args:
        features: What its driver acknowledges.
        queue_size: Of each ring.
        ram_bytes: Its memory.
    """

    def __init__(self, features: int, queue_size: int = 128, ram_bytes: int = 16 * MIB) -> None:
        self.ram: Final = Ram(ram_bytes, "fuzz")
        self.indices: Final = {role: index for index, role in compact_roles(features).items()}
        self.rings: dict[int, Ring] = {}
        self._room: dict[int, int] = {}
        self._features: Final = features
        self._queue_size: Final = queue_size
        self.monitor: Final = Monitor(self.ram, (range(ram_bytes),), features, queue_size, self.make_rings())

    def make_rings(self) -> dict[int, RingAreas]:
        """Set up fresh rings in the place of those that there are; return where they lie, which is always the same."""
        self._close_rings()
        memory = KernelMemory(OWN_BYTES)
        areas = {}
        for index in self.indices.values():
            ring, areas[index] = make_ring(self.ram, memory, self._features, self._queue_size)
            ring.in_order = bool(self._features & RingFeature.IN_ORDER)
            self.rings[index] = ring
            self._room[index] = memory.alloc(4096)
        return areas

    def serve(self, role: QueueRole, data: bytes) -> None:
        """Have a request of at most 4096 bytes served; that it is not is a :class:`Finding`."""
        index = self.indices[role]
        self.ram.write(self._room[index], data)
        self._wait(role, self.rings[index].add(self._room[index], len(data)))

    def report(self, address: int, length: int) -> None:
        """Report free memory, and have that served."""
        index = self.indices[QueueRole.REPORTING]
        self._wait(QueueRole.REPORTING, self.rings[index].add(address, length, device_writes=True))

    def close(self) -> None:
        """Give everything up."""
        self._close_rings()
        self.monitor.close()
        self.ram.close()

    def _wait(self, role: QueueRole, head: int) -> None:
        index = self.indices[role]
        if self.rings[index].should_kick():
            self.monitor.kick(index)
        until_s = time.monotonic() + PATIENCE_S
        while (used := self.rings[index].get_used()) is None:
            if not self.monitor.wait_for_call(index, until_s):
                raise Finding(f"a request on the {role.value} is not served, or its driver is not told")
        if used != head:
            raise Finding(f"buffer {used} of the {role.value} came back for {head}")

    def _close_rings(self) -> None:
        for ring in self.rings.values():
            ring.close()
        self.rings.clear()
