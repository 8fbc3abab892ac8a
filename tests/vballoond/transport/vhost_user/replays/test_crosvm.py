"""crosvm f1e797a6 (2026-08-21), ``--vhost-user balloon,socket=PATH``: vhost-user.md sections 1 and 4.

* It negotiates REPLY_ACK for the back-end's sake and never sets NEED_REPLY itself.
* It has as many queues as GET_QUEUE_NUM says, of 32768 entries unless told otherwise; split rings only.
* It starts its rings one by one: the first runs before the second is set up. It stops them one by one, too.
* SET_FEATURES comes at the first start and then only if features were added: what a driver acknowledged stays
  acknowledged for the drivers after it. The memory table comes at every start.
* GET_CONFIG has flags 1, SET_CONFIG has flags 0.
* Without MSI-X, one descriptor is called for all rings.
* To sleep and to reset are the same messages; after sleep, rings go on at the position that was answered.
"""

import os

import pytest
from support.backend_rig import BackendRig, backend_rig, settled
from support.fake_front_end import (
    MIB,
    USER_BASE,
    FakeFrontEnd,
    FakeGuest,
    config_piece,
    memory_table,
    pfns,
    u64,
    vring_state,
)
from support.replay import (
    ALL_QUEUES,
    DEFLATE,
    INFLATE,
    RINGS,
    STATS,
    WITH_STATS,
    actual,
    disable_and_stop,
    hand_over_channel,
    held,
    inflate_and_deflate,
    load_driver,
    nothing_left,
    one_descriptor,
    post_statistics,
    recall_statistics,
    ring_address,
    stays_unserved,
    target_of,
    tell_doorbell,
    written,
)

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.payloads import MemoryRegionDescription
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

PROTOCOL_FEATURES = (
    ProtocolFeature.CONFIG | ProtocolFeature.MQ | ProtocolFeature.BACKEND_REQ | ProtocolFeature.REPLY_ACK
)
PASSED_ON = 0xFFFC_0000_00FF_FFFF | RingFeature.VERSION_1 | RingFeature.EVENT_IDX | F_PROTOCOL_FEATURES
WRITABLE = 1


class Crosvm:
    """The state that the front-end keeps between its messages."""

    def __init__(self, vm: FakeFrontEnd) -> None:
        self.vm = vm
        self.offered = 0
        self._acknowledged = self._sent = F_PROTOCOL_FEATURES

    async def connect(self) -> None:
        vm = self.vm
        await vm.tell(Request.SET_OWNER)
        self.offered = await vm.number(Request.GET_FEATURES) & PASSED_ON
        taken = await vm.number(Request.GET_PROTOCOL_FEATURES) & PROTOCOL_FEATURES
        await vm.tell(Request.SET_PROTOCOL_FEATURES, u64(taken))
        await hand_over_channel(vm)
        assert await vm.number(Request.GET_QUEUE_NUM) == ALL_QUEUES

    async def activate(self, features: int, bases: dict[int, int] | None = None) -> None:
        vm = self.vm
        self._acknowledged |= features & self.offered
        if self._acknowledged != self._sent:
            await vm.tell(Request.SET_FEATURES, u64(self._acknowledged))
            self._sent = self._acknowledged
        await vm.tell(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds())
        for index in vm.guest.queues:
            await self.activate_ring(index, (bases or {}).get(index, 0))
        await vm.caught_up()

    async def activate_ring(self, index: int, base: int) -> None:
        vm, queue = self.vm, self.vm.guest.queues[index]
        await vm.tell(Request.SET_VRING_NUM, vring_state(index, queue.size))
        await vm.tell(Request.SET_VRING_ADDR, ring_address(vm, index))
        await vm.tell(Request.SET_VRING_BASE, vring_state(index, base))
        await tell_doorbell(vm, Request.SET_VRING_CALL, index, queue.call_fd)
        await tell_doorbell(vm, Request.SET_VRING_KICK, index, queue.kick_fd)
        await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, 1))

    async def deactivate(self) -> dict[int, int]:
        """To sleep, which keeps the positions, and to reset, which forgets them."""
        return {index: await disable_and_stop(self.vm, index) for index in self.vm.guest.queues}


def crosvm_guest(rig: BackendRig, *queues: int, **keys: object) -> FakeGuest:
    """Four regions of one memory file: those under 1 MiB are parts of the machine, RAM goes on above 4 GiB."""
    low, high = 11 * MIB, 4 * MIB
    places = [(0, 0xA0000, 0), (0xA0000, 0x60000, 0xA0000), (MIB, low, MIB), (1 << 32, high, MIB + low)]
    regions = [MemoryRegionDescription(at, size, USER_BASE + offset, offset) for at, size, offset in places]
    guest = rig.guest(ram_bytes=16 * MIB, regions=regions, home=2)
    load_driver(guest, *queues, **keys)
    return guest


async def started(rig: BackendRig, *queues: int, features: int = RINGS, **keys: object) -> Crosvm:
    crosvm = Crosvm(rig.connect(crosvm_guest(rig, *queues, **keys)))
    await crosvm.connect()
    await crosvm.activate(features)
    return crosvm


async def test_it_connects_serves_its_guest_stops_starts_again_and_goes(rig) -> None:
    guest = crosvm_guest(rig, INFLATE, DEFLATE, STATS)
    async with nothing_left(rig, guest):
        vm = rig.connect(guest)
        crosvm = Crosvm(vm)
        await crosvm.connect()
        assert rig.service.state_name == "waiting"
        await crosvm.activate(WITH_STATS)
        assert rig.service.memory.size_bytes == 16 * MIB
        await inflate_and_deflate(rig, guest)
        await recall_statistics(rig, guest, await post_statistics(rig, guest))

        assert await crosvm.deactivate() == {INFLATE: 1, DEFLATE: 1, STATS: 1}
        assert rig.service.state_name == "paused"

        load_driver(guest, INFLATE, DEFLATE, STATS)
        await crosvm.activate(WITH_STATS)
        assert held(rig) == []
        await inflate_and_deflate(rig, guest)
        await post_statistics(rig, guest)
        await rig.disconnect(vm)


async def test_it_takes_all_that_the_back_end_offers_and_it_knows(rig) -> None:
    crosvm = Crosvm(rig.connect(crosvm_guest(rig)))
    await crosvm.connect()
    assert rig.backend.session.protocol_features == PROTOCOL_FEATURES
    assert crosvm.offered == (
        RINGS
        | BalloonFeature.MUST_TELL_HOST
        | BalloonFeature.STATS_VQ
        | BalloonFeature.PAGE_POISON
        | F_PROTOCOL_FEATURES
    )


async def test_a_back_end_with_packed_rings_serves_it_by_split_ones() -> None:
    async with backend_rig(ring="packed") as rig:
        crosvm = await started(rig, INFLATE, DEFLATE, features=RINGS | RingFeature.RING_PACKED)
        assert not rig.service.negotiated_features & RingFeature.RING_PACKED
        await inflate_and_deflate(rig, crosvm.vm.guest)


async def test_it_sleeps_and_wakes_with_everything_where_it_was(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    guest = crosvm.vm.guest
    await inflate_and_deflate(rig, guest)
    before = held(rig)
    head = await post_statistics(rig, guest)

    bases = await crosvm.deactivate()
    assert bases == {INFLATE: 1, DEFLATE: 1, STATS: 0}
    assert rig.service.state_name == "paused"
    assert held(rig) == before
    asleep = guest.queues[INFLATE].request(pfns([guest.first_free_pfn()]))
    await stays_unserved(rig, crosvm.vm, guest.queues[INFLATE])

    await crosvm.activate(WITH_STATS, bases)
    assert await guest.queues[INFLATE].used() == asleep
    first = guest.first_free_pfn()
    assert held(rig) == [(first, 1), *before]
    await settled(rig.service)
    assert rig.service.device.state.held_statistics_head == head
    await recall_statistics(rig, guest, head)


async def test_a_driver_that_acknowledges_less_than_the_one_before_is_served_without_set_features(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    guest = crosvm.vm.guest
    await inflate_and_deflate(rig, guest)
    await crosvm.deactivate()

    guest.queues.pop(STATS).close()
    load_driver(guest, INFLATE, DEFLATE)
    await crosvm.activate(RINGS)
    assert rig.service.negotiated_features == WITH_STATS | F_PROTOCOL_FEATURES
    assert set(rig.backend.session.running()) == {INFLATE, DEFLATE}
    assert held(rig) == []
    await inflate_and_deflate(rig, guest)


async def test_a_ring_is_served_while_the_next_one_is_not_set_up_yet(rig) -> None:
    guest = crosvm_guest(rig, INFLATE, DEFLATE)
    crosvm = Crosvm(rig.connect(guest))
    await crosvm.connect()
    await crosvm.vm.tell(Request.SET_FEATURES, u64(RINGS | F_PROTOCOL_FEATURES))
    await crosvm.vm.tell(Request.SET_MEM_TABLE, memory_table(guest.regions), crosvm.vm.memory_fds())
    await crosvm.activate_ring(INFLATE, 0)
    first = guest.first_free_pfn()
    await guest.queues[INFLATE].served(pfns([first]))
    await crosvm.activate_ring(DEFLATE, 0)
    await guest.queues[DEFLATE].served(pfns([first]))
    assert held(rig) == []


async def test_a_config_change_waits_until_both_rings_run(rig) -> None:
    guest = crosvm_guest(rig, INFLATE, DEFLATE)
    crosvm = Crosvm(rig.connect(guest))
    await crosvm.connect()
    rig.service.set_target(100)
    await crosvm.vm.tell(Request.SET_FEATURES, u64(RINGS | F_PROTOCOL_FEATURES))
    await crosvm.vm.tell(Request.SET_MEM_TABLE, memory_table(guest.regions), crosvm.vm.memory_fds())
    await crosvm.activate_ring(INFLATE, 0)
    await crosvm.vm.caught_up()
    assert not crosvm.vm.config_change_waits()
    await crosvm.activate_ring(DEFLATE, 0)
    await crosvm.vm.config_change()


@pytest.mark.parametrize("stopped", [INFLATE, DEFLATE])
async def test_no_config_change_comes_once_the_first_ring_is_stopped(rig, stopped: int) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    await disable_and_stop(crosvm.vm, stopped)
    rig.service.set_target(100)
    await crosvm.vm.caught_up()
    assert not crosvm.vm.config_change_waits()


async def test_a_config_change_is_announced_on_the_channel_of_the_beginning_after_every_start(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE)
    for target in (100, 200):
        rig.service.set_target(target)
        await crosvm.vm.config_change()
        assert target_of(await crosvm.vm.config(flags=WRITABLE)) == target
        await crosvm.deactivate()
        load_driver(crosvm.vm.guest, INFLATE, DEFLATE)
        await crosvm.activate(RINGS)


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (4, 4), (0, 8), (8, 8), (5, 1), (14, 2)])
async def test_it_reads_any_piece_of_configuration_space_with_a_flag(rig, offset: int, length: int) -> None:
    rig.service.set_target(0x010203)
    crosvm = Crosvm(rig.connect(crosvm_guest(rig)))
    await crosvm.connect()
    whole = actual(0x010203).ljust(16, b"\0")
    assert await crosvm.vm.config(offset, length, flags=WRITABLE) == whole[offset : offset + length]


async def test_its_driver_writes_its_own_field_without_a_flag(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE)
    await crosvm.vm.tell(Request.SET_CONFIG, config_piece(4, actual(300)))
    await crosvm.vm.caught_up()
    assert written(rig) == BalloonConfig(actual=300)


async def test_rings_of_the_largest_size_are_served(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE, size=32768)
    assert {vring.size for vring in rig.backend.session.vrings[:2]} == {32768}
    await inflate_and_deflate(rig, crosvm.vm.guest)


async def test_one_descriptor_is_called_for_all_rings(rig) -> None:
    guest = crosvm_guest(rig, INFLATE, DEFLATE, STATS)
    one_descriptor(list(guest.queues.values()), "call_fd")
    crosvm = Crosvm(rig.connect(guest))
    await crosvm.connect()
    await crosvm.activate(WITH_STATS)
    await inflate_and_deflate(rig, guest)
    await recall_statistics(rig, guest, await post_statistics(rig, guest))


async def test_frames_above_4_gib_are_given_back_and_those_in_the_gap_are_nobodys(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE)
    guest, beyond, gap = crosvm.vm.guest, (1 << 32) // FRAME_BYTES, 12 * MIB // FRAME_BYTES
    guest.ram.write(12 * MIB, b"\xff" * 2 * FRAME_BYTES)
    await guest.queues[INFLATE].served(pfns([gap, beyond + 1]))
    assert held(rig) == [(beyond + 1, 1)]
    assert rig.service.device.counters.foreign_frames == 1
    assert bytes(guest.ram.view(12 * MIB, 2 * FRAME_BYTES)) == b"\xff" * FRAME_BYTES + bytes(FRAME_BYTES)


async def test_the_next_start_of_the_monitor_finds_the_target(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE)
    rig.service.set_target(321)
    await rig.disconnect(crosvm.vm)
    crosvm = await started(rig, INFLATE, DEFLATE)
    assert target_of(await crosvm.vm.config(flags=WRITABLE)) == 321
    await inflate_and_deflate(rig, crosvm.vm.guest)


async def test_kicks_that_came_while_it_slept_are_not_read_by_the_back_end(rig) -> None:
    crosvm = await started(rig, INFLATE, DEFLATE)
    inflate = crosvm.vm.guest.queues[INFLATE]
    await crosvm.deactivate()
    inflate.kick()
    await stays_unserved(rig, crosvm.vm, inflate)
    assert os.eventfd_read(inflate.kick_fd) == 1
