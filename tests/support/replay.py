"""What the replays of all front-ends have in common: a balloon's life, and what must be left of it: nothing.

A replay speaks as one front-end does, by :class:`FakeFrontEnd`; here stands what happens in between, in the guest.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from support.backend_rig import BackendRig, open_descriptors, settled
from support.fake_front_end import FakeFrontEnd, FakeGuest, FakeQueue, pfns, vring_fd, vring_state

from protocol.balloon.config_space import BALLOON_CONFIG, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from protocol.vhost_user.payloads import VRING_ADDRESS
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature
from vballoond.memory.frames import FrameRange

INFLATE, DEFLATE, STATS = range(3)
RINGS: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX
WITH_STATS: Final = RINGS | BalloonFeature.STATS_VQ
ALL_QUEUES: Final = 5

_ALL_MEMORY: Final = FrameRange(0, 1 << 32)
_STATISTICS: Final = STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, 12345))


def held(rig: BackendRig) -> list[tuple[int, int]]:
    """The frames in the balloon: where each run begins, and how long it is."""
    return [(part.first, part.count) for part in rig.service.device.frame_map.ranges(_ALL_MEMORY)]


def target_of(config: bytes) -> int:
    """What a driver that read all of configuration space takes for its target."""
    return BALLOON_CONFIG.unpack(config).num_pages


def actual(frames: int) -> bytes:
    """What a driver writes into the field ``actual``."""
    return frames.to_bytes(4, "little")


def written(rig: BackendRig) -> BalloonConfig:
    """Configuration space as the device has it."""
    return BALLOON_CONFIG.unpack(rig.service.read_config(0, BALLOON_CONFIG.size))


# The guest.


def load_driver(guest: FakeGuest, *indices: int, **keys: object) -> None:
    """A driver sets up fresh queues, in the places of those of the driver before."""
    for index in indices:
        guest.add_queue(index, **keys)


async def inflate_and_deflate(rig: BackendRig, guest: FakeGuest) -> None:
    """Inflate 256 frames that the guest has used, and deflate 100 of them; the balloon was empty before."""
    first = guest.first_free_pfn()
    guest.touch_own_memory()
    guest.touch(first, 256)
    before = guest.resident_bytes()
    await guest.queues[INFLATE].served(pfns(range(first, first + 256)))
    assert held(rig) == [(first, 256)]
    assert guest.resident_bytes() == before - 256 * 4096
    await guest.queues[DEFLATE].served(pfns(range(first, first + 100)))
    assert held(rig) == [(first + 100, 156)]
    assert rig.service.state_name == "running"


async def post_statistics(rig: BackendRig, guest: FakeGuest) -> int:
    """Hand in a statistics buffer, which the device keeps; return its head."""
    seen = sum(getattr(fact, "role", None) is QueueRole.STATS and hasattr(fact, "head") for fact in rig.facts.facts)
    head = guest.queues[STATS].request(_STATISTICS)
    await rig.facts.until_requested(QueueRole.STATS, times=seen + 1)
    assert rig.service.device.state.statistics.values == {StatisticTag.FREE_MEMORY: 12345}
    assert rig.service.device.state.held_statistics_head == head
    return head


async def recall_statistics(rig: BackendRig, guest: FakeGuest, head: int) -> None:
    """The device asks for statistics anew: the buffer comes back."""
    rig.service._statistics_due()
    assert await guest.queues[STATS].used() == head


async def stays_unserved(rig: BackendRig, vm: FakeFrontEnd, queue: FakeQueue) -> None:
    """See that nothing comes back by a queue, whatever was kicked."""
    await vm.number(Request.GET_QUEUE_NUM)
    await settled(rig.service)
    assert queue.ring.get_used() is None


def rung(fd: int) -> bool:
    """Say whether an event was signalled, and take it."""
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


def one_descriptor(queues: list[FakeQueue], which: str) -> None:
    """Let queues share the first one's descriptor, as front-ends do that have a single interrupt."""
    for queue in queues[1:]:
        os.dup2(getattr(queues[0], which), getattr(queue, which), inheritable=False)


# Messages that front-ends send alike.


def ring_address(vm: FakeFrontEnd, index: int) -> bytes:
    """The payload of SET_VRING_ADDR of all but QEMU and user-mode Linux: the log's address is 0."""
    return VRING_ADDRESS.pack(vm.guest.vring_address(index)._replace(log=0))


async def hand_over_channel(vm: FakeFrontEnd) -> None:
    """SET_BACKEND_REQ_FD, with a channel that takes the place of the one before."""
    fd = vm.open_backend_channel()
    try:
        await vm.tell(Request.SET_BACKEND_REQ_FD, fds=[fd])
    finally:
        os.close(fd)


async def tell_doorbell(vm: FakeFrontEnd, request: Request, index: int, fd: int) -> None:
    """SET_VRING_KICK or SET_VRING_CALL, with a descriptor."""
    await vm.tell(request, vring_fd(index), [fd])


async def disable_and_stop(vm: FakeFrontEnd, index: int) -> int:
    """SET_VRING_ENABLE 0 and GET_VRING_BASE for one ring, before the next one's turn; return its position."""
    await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, 0))
    return await vm.vring_base(index)


# What is left.


@asynccontextmanager
async def nothing_left(rig: BackendRig, guest: FakeGuest) -> AsyncIterator[None]:
    """Whoever connects inside has gone at the end: no descriptor, mapping, frame or feature is left of it."""
    descriptors, mappings = open_descriptors(), _mappings(guest)
    yield
    assert open_descriptors() == descriptors
    assert _mappings(guest) == mappings
    assert held(rig) == []
    assert rig.service.state_name == "waiting"
    assert rig.service.memory.size_bytes == 0
    assert rig.service.negotiated_features == 0
    assert not rig.service.connected


def _mappings(guest: FakeGuest) -> int:
    inodes = {str(os.fstat(guest.fd_of(region)).st_ino) for region in guest.regions}
    with Path("/proc/self/maps").open() as maps:
        return sum(line.split()[4] in inodes and "memfd:vballoond-fake" in line for line in maps)
