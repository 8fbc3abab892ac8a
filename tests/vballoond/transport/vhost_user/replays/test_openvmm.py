"""OpenVMM 1488a37b (2026-08-21), ``--vhost-user SOCK,device_id=5,queue_sizes=[...]``: vhost-user.md sections 1, 4, 10.

* It wants an acknowledgement of every message that is no question, from the negotiation of REPLY_ACK on; SET_OWNER
  comes after that and wants none all the same.
* It takes no BACKEND_REQ: nobody is told of a config change. RESET_DEVICE, which it would take, is not offered.
* The memory table comes once, before SET_FEATURES, and never again; SET_FEATURES once for each driver.
* User addresses are guest addresses and 2 to the power of 52.
* Each ring: size, addresses, position, kick, call, enable. Its kick comes before its call, and it runs last of all.
* Configuration space has 256 bytes and is read in words of 4, also beyond the balloon's own.
* Rings are stopped one by one and go on at the position that was answered. Packed rings work.
* Until the spring of 2026 it acknowledged all that was on offer before it asked for protocol features, and read all of
  configuration space in one piece.
"""

import pytest
from support.backend_rig import BackendRig, backend_rig, settled
from support.fake_front_end import (
    MIB,
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
    STATS,
    WITH_STATS,
    actual,
    disable_and_stop,
    held,
    inflate_and_deflate,
    load_driver,
    nothing_left,
    post_statistics,
    recall_statistics,
    ring_address,
    rung,
    stays_unserved,
    tell_doorbell,
    written,
)

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.payloads import MemoryRegionDescription
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

PROTOCOL_FEATURES = ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK | ProtocolFeature.CONFIG
RESET_DEVICE = 1 << 13
USER_OFFSET = 1 << 52
PACKED = WITH_STATS | RingFeature.RING_PACKED
ABOVE = 1 << 32


async def connect(vm: FakeFrontEnd) -> int:
    """Return the features on offer."""
    offered = await vm.number(Request.GET_FEATURES)
    taken = await vm.number(Request.GET_PROTOCOL_FEATURES) & (PROTOCOL_FEATURES | RESET_DEVICE)
    assert taken == PROTOCOL_FEATURES
    await vm.tell(Request.SET_PROTOCOL_FEATURES, u64(taken))
    await vm.tell(Request.SET_OWNER)
    assert await vm.number(Request.GET_QUEUE_NUM) == ALL_QUEUES
    vm.need_reply = True
    return offered


async def share_memory(vm: FakeFrontEnd) -> None:
    await vm.tell(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds())


async def acknowledge(vm: FakeFrontEnd, features: int) -> None:
    await vm.tell(Request.SET_FEATURES, u64(features | F_PROTOCOL_FEATURES))


async def set_up(vm: FakeFrontEnd, index: int, base: int) -> None:
    queue = vm.guest.queues[index]
    await vm.tell(Request.SET_VRING_NUM, vring_state(index, queue.size))
    await vm.tell(Request.SET_VRING_ADDR, ring_address(vm, index))
    await vm.tell(Request.SET_VRING_BASE, vring_state(index, base))
    await tell_doorbell(vm, Request.SET_VRING_KICK, index, queue.kick_fd)
    await tell_doorbell(vm, Request.SET_VRING_CALL, index, queue.call_fd)


async def start(vm: FakeFrontEnd, bases: dict[int, int]) -> None:
    for index in vm.guest.queues:
        await set_up(vm, index, bases[index])
        await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, 1))


async def stop(vm: FakeFrontEnd) -> dict[int, int]:
    return {index: await disable_and_stop(vm, index) for index in vm.guest.queues}


def fresh(features: int) -> dict[int, int]:
    return dict.fromkeys(range(ALL_QUEUES), 0x8000_8000 if features & RingFeature.RING_PACKED else 0)


def openvmm_guest(rig: BackendRig, features: int = WITH_STATS) -> FakeGuest:
    """Memory on both sides of the gap, in one file, and the queues of a driver with statistics."""
    places = [(0, 12 * MIB, 0), (ABOVE, 4 * MIB, 12 * MIB)]
    regions = [MemoryRegionDescription(at, size, at + USER_OFFSET, offset) for at, size, offset in places]
    guest = rig.guest(ram_bytes=16 * MIB, regions=regions)
    load_queues(guest, features)
    return guest


def load_queues(guest: FakeGuest, features: int) -> None:
    load_driver(guest, INFLATE, DEFLATE, STATS, packed=bool(features & RingFeature.RING_PACKED))


async def started(rig: BackendRig, features: int = WITH_STATS) -> FakeFrontEnd:
    vm = rig.connect(openvmm_guest(rig, features))
    await connect(vm)
    await share_memory(vm)
    await acknowledge(vm, features)
    await start(vm, fresh(features))
    return vm


@pytest.fixture(params=[WITH_STATS, PACKED], ids=["split", "packed"])
def features(request) -> int:
    return request.param


@pytest.fixture
async def rig(features):
    async with backend_rig(ring="packed" if features & RingFeature.RING_PACKED else "split") as rig:
        yield rig


async def test_it_connects_serves_its_guest_resets_starts_again_and_goes(rig, features: int) -> None:
    guest = openvmm_guest(rig, features)
    async with nothing_left(rig, guest):
        vm = rig.connect(guest)
        assert await connect(vm) & features == features
        await share_memory(vm)
        assert rig.service.state_name == "waiting"
        await acknowledge(vm, features)
        await start(vm, fresh(features))
        assert rig.service.memory.size_bytes == 16 * MIB
        await inflate_and_deflate(rig, guest)
        await recall_statistics(rig, guest, await post_statistics(rig, guest))
        await stop(vm)
        assert rig.service.state_name == "paused"

        # The next driver: no memory table any more.
        load_queues(guest, features)
        await acknowledge(vm, features)
        await start(vm, fresh(features))
        assert held(rig) == []
        await inflate_and_deflate(rig, guest)
        await post_statistics(rig, guest)
        await rig.disconnect(vm)


async def test_a_stopped_vm_goes_on_where_it_was_without_features_and_memory(rig, features: int) -> None:
    vm = await started(rig, features)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    inflate = guest.queues[INFLATE]
    await inflate_and_deflate(rig, guest)
    before = held(rig)
    statistics = await post_statistics(rig, guest)

    bases = await stop(vm)
    one, none = (0x8001_8001, 0x8000_8000) if features & RingFeature.RING_PACKED else (1, 0)
    assert bases == {INFLATE: one, DEFLATE: one, STATS: none}
    head = inflate.request(pfns([first]))
    await stays_unserved(rig, vm, inflate)
    assert rig.service.state_name == "paused"
    assert held(rig) == before

    await start(vm, bases)
    assert await inflate.used() == head
    assert held(rig) == [(first, 1), *before]
    await settled(rig.service)
    assert rig.service.device.state.held_statistics_head == statistics
    await recall_statistics(rig, guest, statistics)


async def test_a_ring_that_was_kicked_runs_when_it_is_enabled_and_not_before(rig, features: int) -> None:
    vm = rig.connect(openvmm_guest(rig, features))
    await connect(vm)
    await share_memory(vm)
    await acknowledge(vm, features)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    head = inflate.request(pfns([first]))
    await set_up(vm, INFLATE, fresh(features)[INFLATE])
    await stays_unserved(rig, vm, inflate)
    assert held(rig) == []

    await vm.tell(Request.SET_VRING_ENABLE, vring_state(INFLATE, 1))
    assert await inflate.used() == head
    assert held(rig) == [(first, 1)]


async def test_a_config_change_reaches_nobody_and_hurts_nobody(rig, features: int) -> None:
    vm = await started(rig, features)
    rig.service.set_target(100)
    await inflate_and_deflate(rig, vm.guest)
    assert await vm.config(0, 4) == actual(100)


async def test_configuration_space_is_read_in_words_also_beyond_its_end(rig, features: int) -> None:
    rig.service.set_target(0x01020304)
    vm = rig.connect(openvmm_guest(rig, features))
    await connect(vm)
    words = [await vm.config(offset, 4) for offset in range(0, 256, 4)]
    assert b"".join(words) == actual(0x01020304).ljust(256, b"\0")


async def test_a_driver_writes_its_own_field_by_a_word(rig, features: int) -> None:
    vm = await started(rig, features)
    await vm.tell(Request.SET_CONFIG, config_piece(4, actual(300)))
    await vm.tell(Request.SET_CONFIG, config_piece(0, actual(7)))
    await vm.tell(Request.SET_CONFIG, config_piece(252, actual(7)))
    assert written(rig) == BalloonConfig(actual=300)


async def test_frames_above_4_gib_are_found_though_user_addresses_are_far_away(rig, features: int) -> None:
    vm = await started(rig, features)
    beyond = ABOVE // FRAME_BYTES
    vm.guest.ram.write(12 * MIB, b"\xff" * 2 * FRAME_BYTES)
    await vm.guest.queues[INFLATE].served(pfns([beyond, USER_OFFSET // FRAME_BYTES & 0xFFFF_FFFF | 0xC00]))
    assert held(rig) == [(beyond, 1)]
    assert bytes(vm.guest.ram.view(12 * MIB, 2 * FRAME_BYTES)) == bytes(FRAME_BYTES) + b"\xff" * FRAME_BYTES


async def test_a_ring_goes_on_after_many_stops_and_laps(rig, features: int) -> None:
    vm = await started(rig, features)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    for number in range(1, 301):
        await guest.queues[INFLATE].served(pfns([first + number]))
        if number % 64 == 0:
            await start(vm, await stop(vm))
            assert held(rig) == [(first + 1, number)]
    assert held(rig) == [(first + 1, 300)]


async def test_the_spring_of_2026_acknowledges_everything_first_and_reads_all_of_configuration_space(
    rig, features: int
) -> None:
    vm = rig.connect(openvmm_guest(rig, features))
    offered = await vm.number(Request.GET_FEATURES)
    await vm.tell(Request.SET_FEATURES, u64(offered | F_PROTOCOL_FEATURES))
    await connect(vm)
    assert await vm.config(0, 256) == bytes(256)
    await share_memory(vm)
    await acknowledge(vm, features)
    assert rig.service.state_name == "waiting"
    await start(vm, fresh(features))
    assert rig.service.negotiated_features == features | F_PROTOCOL_FEATURES
    await inflate_and_deflate(rig, vm.guest)
    assert not rung(vm.guest.queues[STATS].call_fd)
