"""cloud-hypervisor ae44c297 (2026-08-22), ``--generic-vhost-user device_type=balloon``: vhost-user.md sections 1, 4, 5.

* Once REPLY_ACK is negotiated, NEED_REPLY is set on every message, questions included: each gets one reply.
* Feature bits 0 to 23 are masked out: there are an inflateq and a deflateq, and nothing else.
* At a start: SET_FEATURES, the memory table, the sizes of all rings, then each ring's address, position and
  descriptors, then all rings are enabled, and only then comes the back-end's channel, a new one each time.
* The position of a ring is what its driver made available last. After a broken connection that passes over requests
  that nobody served, unless the driver knows IN_ORDER: then it is the used index.
* A VM that pauses disables its rings and enables them again; a reset disables and stops them one by one.
* Every region has a memory file of its own. Memory is plugged by ADD_MEM_REG behind a table.
* Configuration space is read and written in pieces as the guest does it; SET_CONFIG has flags 1. Any error that it
  sees there is the end of the VM.
* When the connection breaks, it comes back without asking for protocol features or the number of queues.
"""

import pytest
from support.backend_rig import BackendRig, open_descriptors, settled
from support.fake_front_end import (
    MIB,
    FakeFrontEnd,
    FakeGuest,
    FakeQueue,
    config_piece,
    memory_table,
    pfns,
    single_region,
    u64,
    vring_state,
)
from support.replay import (
    ALL_QUEUES,
    DEFLATE,
    INFLATE,
    RINGS,
    actual,
    disable_and_stop,
    hand_over_channel,
    held,
    inflate_and_deflate,
    load_driver,
    nothing_left,
    ring_address,
    stays_unserved,
    target_of,
    tell_doorbell,
    written,
)

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.split_ring import IDX_WORD
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

PROTOCOL_FEATURES = (
    ProtocolFeature.CONFIG
    | ProtocolFeature.MQ
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.BACKEND_REQ
)
PASSED_ON = RINGS | RingFeature.INDIRECT_DESC | RingFeature.IN_ORDER | F_PROTOCOL_FEATURES
IN_ORDER = RINGS | RingFeature.IN_ORDER
LIVE_MIGRATION = 1  # what the specification calls the flag that comes with every write
ABOVE = 1 << 32
ABOVE_PFN = ABOVE // FRAME_BYTES


async def connect(vm: FakeFrontEnd) -> None:
    await vm.tell(Request.SET_OWNER)
    assert await vm.number(Request.GET_FEATURES) & PASSED_ON == PASSED_ON
    taken = await vm.number(Request.GET_PROTOCOL_FEATURES) & PROTOCOL_FEATURES
    assert taken == PROTOCOL_FEATURES
    await vm.tell(Request.SET_PROTOCOL_FEATURES, u64(taken))
    vm.need_reply = vm.need_reply_to_questions = True
    assert await vm.number(Request.GET_QUEUE_NUM) == ALL_QUEUES


async def reconnect(vm: FakeFrontEnd, features: int) -> None:
    """What it says on a new connection for a driver that was there before."""
    await vm.tell(Request.SET_OWNER)
    await vm.number(Request.GET_FEATURES)
    await vm.tell(Request.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES))
    vm.need_reply = vm.need_reply_to_questions = True
    in_order = bool(features & RingFeature.IN_ORDER)
    queues = vm.guest.queues.values()
    bases = {queue.index: used_index(queue) if in_order else available_index(queue) for queue in queues}
    behind = [queue for queue in queues if in_order and used_index(queue) != available_index(queue)]
    await activate(vm, features, bases)
    for queue in behind:
        queue.kick()


def available_index(queue: FakeQueue) -> int:
    return queue.ring._avail[IDX_WORD]


def used_index(queue: FakeQueue) -> int:
    return queue.ring._used[IDX_WORD]


async def activate(vm: FakeFrontEnd, features: int, bases: dict[int, int] | None = None) -> None:
    queues = vm.guest.queues
    await vm.tell(Request.SET_FEATURES, u64(features | F_PROTOCOL_FEATURES))
    await vm.tell(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds())
    for index, queue in queues.items():
        await vm.tell(Request.SET_VRING_NUM, vring_state(index, queue.size))
    for index, queue in queues.items():
        await vm.tell(Request.SET_VRING_ADDR, ring_address(vm, index))
        base = available_index(queue) if bases is None else bases[index]
        await vm.tell(Request.SET_VRING_BASE, vring_state(index, base))
        await tell_doorbell(vm, Request.SET_VRING_CALL, index, queue.call_fd)
        await tell_doorbell(vm, Request.SET_VRING_KICK, index, queue.kick_fd)
    await enable(vm, 1)
    await hand_over_channel(vm)


async def enable(vm: FakeFrontEnd, value: int) -> None:
    for index in vm.guest.queues:
        await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, value))


async def reset(vm: FakeFrontEnd) -> None:
    for index in vm.guest.queues:
        await disable_and_stop(vm, index)
    vm.close_backend_channel()


def cloud_guest(rig: BackendRig, *, in_order: bool = False) -> FakeGuest:
    """Two queues, and memory below the gap and above 4 GiB, each in a file of its own."""
    guest = rig.guest()
    load_driver(guest, INFLATE, DEFLATE, in_order=in_order)
    guest.add_region(ABOVE, 4 * MIB)
    return guest


async def started(rig: BackendRig, features: int = RINGS) -> FakeFrontEnd:
    vm = rig.connect(cloud_guest(rig, in_order=bool(features & RingFeature.IN_ORDER)))
    await connect(vm)
    await activate(vm, features)
    return vm


@pytest.mark.parametrize("features", [RINGS, IN_ORDER, PASSED_ON])
async def test_it_connects_serves_its_guest_resets_starts_again_and_goes(rig, features: int) -> None:
    in_order = bool(features & RingFeature.IN_ORDER)
    guest = cloud_guest(rig, in_order=in_order)
    async with nothing_left(rig, guest):
        vm = rig.connect(guest)
        await connect(vm)
        assert rig.service.state_name == "waiting"
        await activate(vm, features)
        assert rig.service.memory.size_bytes == 20 * MIB
        await inflate_and_deflate(rig, guest)
        await reset(vm)
        assert rig.service.state_name == "paused"

        load_driver(guest, INFLATE, DEFLATE, in_order=in_order)
        await activate(vm, features)
        assert held(rig) == []
        await inflate_and_deflate(rig, guest)
        await rig.disconnect(vm)


async def test_a_question_that_wants_a_reply_gets_one_and_no_acknowledgement(rig) -> None:
    vm = await started(rig)
    assert vm.need_reply_to_questions
    assert await vm.vring_base(INFLATE) == 0
    assert len(await vm.config(0, 8)) == 8
    await vm.caught_up()


async def test_a_paused_vm_is_served_nothing_and_goes_on_without_being_set_up(rig) -> None:
    vm = await started(rig)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    inflate = guest.queues[INFLATE]
    await inflate_and_deflate(rig, guest)
    before = held(rig)

    await enable(vm, 0)
    assert rig.service.state_name == "paused"
    head = inflate.request(pfns([first]))
    await stays_unserved(rig, vm, inflate)
    assert held(rig) == before

    await enable(vm, 1)
    assert rig.service.state_name == "running"
    assert await inflate.used() == head
    assert held(rig) == [(first, 1), *before]


async def test_a_vm_that_is_paused_hears_of_its_target_when_it_goes_on(rig) -> None:
    vm = await started(rig)
    await enable(vm, 0)
    rig.service.set_target(100)
    await vm.caught_up()
    assert not vm.config_change_waits()
    await enable(vm, 1)
    await vm.config_change()
    assert target_of(await vm.config()) == 100


async def test_a_vm_that_is_reset_while_it_is_paused_starts_again(rig) -> None:
    vm = await started(rig)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
    await enable(vm, 0)
    await reset(vm)
    load_driver(vm.guest, INFLATE, DEFLATE)
    await activate(vm, RINGS)
    assert held(rig) == []
    await inflate_and_deflate(rig, vm.guest)


async def test_a_config_change_waits_for_the_channel_that_comes_after_the_rings_run(rig) -> None:
    vm = rig.connect(cloud_guest(rig))
    await connect(vm)
    rig.service.set_target(100)
    await activate(vm, RINGS)
    await vm.config_change()
    assert not vm.config_change_waits()


async def test_a_config_change_survives_the_channel_that_a_reset_closed(rig) -> None:
    vm = await started(rig)
    await reset(vm)
    rig.service.set_target(100)
    load_driver(vm.guest, INFLATE, DEFLATE)
    # Due when the rings run again, it finds the closed channel first and the new one later.
    await activate(vm, RINGS)
    await vm.config_change()
    assert not vm.config_change_waits()


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (1, 2), (0, 4), (4, 4), (0, 8), (12, 4), (13, 8), (252, 4)])
async def test_no_piece_of_configuration_space_is_refused(rig, offset: int, length: int) -> None:
    rig.service.set_target(0x010203)
    vm = await started(rig)
    whole = written(rig).num_pages.to_bytes(4, "little").ljust(256, b"\0")
    assert await vm.config(offset, length) == whole[offset : offset + length]
    await vm.tell(Request.SET_CONFIG, config_piece(offset, b"\0" * length, flags=LIVE_MIGRATION))


async def test_the_flag_of_live_migration_lets_no_driver_write_the_target(rig) -> None:
    vm = await started(rig)
    rig.service.set_target(1000)
    await vm.tell(Request.SET_CONFIG, config_piece(0, actual(5), flags=LIVE_MIGRATION))
    await vm.tell(Request.SET_CONFIG, config_piece(4, actual(300), flags=LIVE_MIGRATION))
    assert written(rig) == BalloonConfig(num_pages=1000, actual=300)


async def test_frames_are_given_back_in_the_file_of_their_region(rig) -> None:
    guest = rig.guest()
    load_driver(guest, INFLATE, DEFLATE)
    above = guest.add_region(ABOVE, 4 * MIB)
    vm = rig.connect(guest)
    await connect(vm)
    await activate(vm, RINGS)
    guest.ram.write(8 * MIB, b"\xff" * FRAME_BYTES)
    above.write(0, b"\xff" * 2 * FRAME_BYTES)
    await guest.queues[INFLATE].served(pfns([ABOVE_PFN]))
    assert held(rig) == [(ABOVE_PFN, 1)]
    assert bytes(above.view(0, 2 * FRAME_BYTES)) == bytes(FRAME_BYTES) + b"\xff" * FRAME_BYTES


async def test_memory_is_plugged_one_by_one_behind_a_table_and_comes_with_the_next_one(rig) -> None:
    vm = await started(rig)
    plugged = vm.guest.add_region(2 * ABOVE, 8 * MIB)
    region = vm.guest.regions[-1]
    await vm.tell(Request.ADD_MEM_REG, single_region(region), [plugged.fd])
    assert rig.service.memory.size_bytes == 28 * MIB
    plugged.write(0, b"\xff" * FRAME_BYTES)
    await vm.guest.queues[INFLATE].served(pfns([2 * ABOVE_PFN]))
    assert held(rig) == [(2 * ABOVE_PFN, 1)]
    assert not any(plugged.view(0, FRAME_BYTES))

    await reset(vm)
    load_driver(vm.guest, INFLATE, DEFLATE)
    await activate(vm, RINGS)
    assert rig.service.memory.size_bytes == 28 * MIB
    await inflate_and_deflate(rig, vm.guest)


async def test_a_broken_connection_is_made_again_and_the_driver_goes_on(rig) -> None:
    vm = await started(rig)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    await inflate_and_deflate(rig, guest)
    await rig.disconnect(vm)
    assert rig.service.state_name == "waiting"

    vm = rig.connect(guest)
    await reconnect(vm, RINGS)
    assert rig.service.state_name == "running"
    # What was inflated before is the driver's own knowledge: it may deflate what nobody here holds.
    assert held(rig) == []
    await guest.queues[DEFLATE].served(pfns([first + 100]))
    await guest.queues[INFLATE].served(pfns([first]))
    assert held(rig) == [(first, 1)]


async def test_a_request_that_nobody_served_is_served_after_reconnection_of_a_driver_that_knows_in_order(rig) -> None:
    vm = await started(rig, IN_ORDER)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    inflate = guest.queues[INFLATE]
    await inflate.served(pfns([first]))
    await rig.disconnect(vm)
    head = inflate.request(pfns([first + 1]))

    vm = rig.connect(guest)
    await reconnect(vm, IN_ORDER)
    assert await inflate.used() == head
    assert held(rig) == [(first + 1, 1)]


async def test_a_request_that_nobody_served_is_served_after_reconnection_of_any_driver(rig) -> None:
    vm = await started(rig)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    inflate = guest.queues[INFLATE]
    await inflate.served(pfns([first]))
    await rig.disconnect(vm)
    head = inflate.request(pfns([first + 1]))

    await reconnect(rig.connect(guest), RINGS)
    await settled(rig.service)
    assert inflate.ring.get_used() == head


async def test_a_target_that_was_set_while_the_connection_was_broken_is_announced(rig) -> None:
    vm = await started(rig)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
    await rig.disconnect(vm)
    rig.service.set_target(100)

    vm = rig.connect(vm.guest)
    await reconnect(vm, RINGS)
    await vm.config_change()
    assert target_of(await vm.config()) == 100


async def test_a_driver_that_has_just_come_hears_of_no_config_change(rig) -> None:
    rig.service.set_target(100)
    vm = await started(rig)
    await vm.caught_up()
    assert not vm.config_change_waits()


async def test_many_resets_leave_no_descriptor(rig) -> None:
    guest = cloud_guest(rig)
    async with nothing_left(rig, guest):
        vm = rig.connect(guest)
        await connect(vm)
        await activate(vm, RINGS)
        before = open_descriptors()
        for _ in range(10):
            await reset(vm)
            await activate(vm, RINGS, {INFLATE: 0, DEFLATE: 0})
        assert open_descriptors() == before
        await rig.disconnect(vm)
