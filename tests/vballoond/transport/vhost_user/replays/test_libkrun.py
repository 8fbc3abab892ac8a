"""libkrun 6ed74fac (2026-06-12), ``krun_add_vhost_user_device(ctx, 5, ...)``: vhost-user.md sections 1, 4, 5.

* It takes CONFIG and MQ: no acknowledgement of anything, and nobody is told of a config change.
* SET_OWNER comes at every start, and the memory table before SET_FEATURES.
* It sets up as many rings as GET_QUEUE_NUM says, also those that its guest never touched: these have 0 entries, and all
  of their parts lie at guest address 0.
* Every ring starts at position 0. One descriptor is called for all of them.
* To reset is to disable all rings; none is ever asked for its position, and its memory is the guest's again.
* The next driver's rings have the kick descriptors of those before.
* Memory has a hole for the kernel, which has a region of its own; each region has a memory file of its own.
"""

import os

import pytest
from support.backend_rig import BackendRig, settled
from support.fake_front_end import (
    MIB,
    USER_BASE,
    FakeFrontEnd,
    FakeGuest,
    config_piece,
    event,
    memory_table,
    pfns,
    u64,
    vring_fd,
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
    held,
    inflate_and_deflate,
    load_driver,
    nothing_left,
    one_descriptor,
    post_statistics,
    recall_statistics,
    ring_address,
    stays_unserved,
    tell_doorbell,
    written,
)

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.payloads import VRING_ADDRESS, VringAddress
from protocol.vhost_user.requests import Request
from vballoond.balloon.facts import QueueStarted

PROTOCOL_FEATURES = ProtocolFeature.CONFIG | ProtocolFeature.MQ
KERNEL = 16 * MIB
BEHIND_KERNEL = 20 * MIB


async def connect(vm: FakeFrontEnd) -> None:
    """There is no owner yet."""
    await vm.number(Request.GET_FEATURES)
    taken = await vm.number(Request.GET_PROTOCOL_FEATURES) & PROTOCOL_FEATURES
    await vm.tell(Request.SET_PROTOCOL_FEATURES, u64(taken))
    assert await vm.number(Request.GET_QUEUE_NUM) == ALL_QUEUES


async def activate(vm: FakeFrontEnd, features: int) -> None:
    await vm.tell(Request.SET_OWNER)
    await vm.tell(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds())
    await vm.tell(Request.SET_FEATURES, u64(features | F_PROTOCOL_FEATURES))
    for index in range(ALL_QUEUES):
        if index in vm.guest.queues:
            await set_up(vm, index)
        else:
            await set_up_untouched(vm, index)
        await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, 1))
    await vm.caught_up()


async def set_up(vm: FakeFrontEnd, index: int) -> None:
    queue = vm.guest.queues[index]
    await vm.tell(Request.SET_VRING_NUM, vring_state(index, queue.size))
    await vm.tell(Request.SET_VRING_BASE, vring_state(index, 0))
    await vm.tell(Request.SET_VRING_ADDR, ring_address(vm, index))
    await tell_doorbell(vm, Request.SET_VRING_KICK, index, queue.kick_fd)
    await tell_doorbell(vm, Request.SET_VRING_CALL, index, queue.call_fd)


async def set_up_untouched(vm: FakeFrontEnd, index: int) -> None:
    """A ring of which the guest said nothing is where nothing was said."""
    nowhere = VringAddress(index, 0, descriptor=USER_BASE, used=USER_BASE, available=USER_BASE, log=0)
    await vm.tell(Request.SET_VRING_NUM, vring_state(index, 0))
    await vm.tell(Request.SET_VRING_BASE, vring_state(index, 0))
    await vm.tell(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(nowhere))
    fd = event()
    await vm.tell(Request.SET_VRING_KICK, vring_fd(index), [fd])
    await vm.tell(Request.SET_VRING_CALL, vring_fd(index), [fd])
    os.close(fd)


async def reset(vm: FakeFrontEnd) -> None:
    for index in range(ALL_QUEUES):
        await vm.tell(Request.SET_VRING_ENABLE, vring_state(index, 0))
    await vm.caught_up()


def libkrun_guest(rig: BackendRig, *queues: int) -> FakeGuest:
    """Memory below the kernel, the kernel, and as much as was asked for behind it."""
    guest = rig.guest()
    guest.add_region(KERNEL, BEHIND_KERNEL - KERNEL)
    guest.add_region(BEHIND_KERNEL, 8 * MIB)
    load_with_one_call(guest, *queues)
    return guest


def load_with_one_call(guest: FakeGuest, *queues: int) -> None:
    """A driver sets up its queues; the kick descriptors are those of the driver before."""
    kicks = {index: os.dup(queue.kick_fd) for index, queue in guest.queues.items()}
    load_driver(guest, *queues)
    for index, fd in kicks.items():
        os.dup2(fd, guest.queues[index].kick_fd, inheritable=False)
        os.close(fd)
    one_descriptor(list(guest.queues.values()), "call_fd")


async def started(rig: BackendRig, *queues: int, features: int = RINGS) -> FakeFrontEnd:
    vm = rig.connect(libkrun_guest(rig, *queues))
    await connect(vm)
    await activate(vm, features)
    return vm


async def test_it_connects_serves_its_guest_resets_starts_again_and_goes(rig) -> None:
    guest = libkrun_guest(rig, INFLATE, DEFLATE, STATS)
    async with nothing_left(rig, guest):
        vm = rig.connect(guest)
        await connect(vm)
        assert rig.service.state_name == "waiting"
        await activate(vm, WITH_STATS)
        assert rig.service.memory.size_bytes == 28 * MIB
        await inflate_and_deflate(rig, guest)
        await recall_statistics(rig, guest, await post_statistics(rig, guest))
        await post_statistics(rig, guest)
        await reset(vm)
        assert rig.service.state_name == "paused"

        load_with_one_call(guest, INFLATE, DEFLATE, STATS)
        await activate(vm, WITH_STATS)
        assert held(rig) == []
        assert rig.service.device.state.held_statistics_head is None
        await inflate_and_deflate(rig, guest)
        await recall_statistics(rig, guest, await post_statistics(rig, guest))
        await rig.disconnect(vm)


async def test_it_takes_what_it_knows_of_the_protocol(rig) -> None:
    vm = rig.connect(libkrun_guest(rig))
    await connect(vm)
    await vm.caught_up()
    assert rig.backend.session.protocol_features == PROTOCOL_FEATURES


@pytest.mark.parametrize("features", [RINGS, WITH_STATS])
async def test_rings_that_its_guest_never_touched_are_never_served(rig, features: int) -> None:
    queues = (INFLATE, DEFLATE) if features == RINGS else (INFLATE, DEFLATE, STATS)
    vm = await started(rig, *queues, features=features)
    assert set(rig.backend.session.ready()) == set(queues)
    await inflate_and_deflate(rig, vm.guest)
    expected = [QueueRole.INFLATE, QueueRole.DEFLATE, QueueRole.STATS][: len(queues)]
    assert [fact.role for fact in rig.facts.of(QueueStarted)] == expected


async def test_a_driver_that_comes_without_the_statistics_of_the_one_before_is_served(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    await post_statistics(rig, vm.guest)
    await reset(vm)
    vm.guest.queues.pop(STATS).close()
    load_with_one_call(vm.guest, INFLATE, DEFLATE)
    await activate(vm, RINGS)
    assert set(rig.backend.session.running()) == {INFLATE, DEFLATE}
    await inflate_and_deflate(rig, vm.guest)


async def test_memory_of_rings_that_were_reset_is_the_guests(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    inflate = guest.queues[INFLATE]
    await inflate.served(pfns([first]))
    await reset(vm)
    inflate.request(pfns([first + 1]))
    await stays_unserved(rig, vm, inflate)
    assert held(rig) == [(first, 1)]

    # Another start, up to the rings' own messages: the old ring is not looked at again.
    await vm.tell(Request.SET_OWNER)
    await vm.tell(Request.SET_MEM_TABLE, memory_table(guest.regions), vm.memory_fds())
    await vm.tell(Request.SET_FEATURES, u64(RINGS | F_PROTOCOL_FEATURES))
    await stays_unserved(rig, vm, inflate)
    assert held(rig) == [(first, 1)]


async def test_a_kick_of_the_driver_before_does_no_harm_to_the_next_one(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await reset(vm)
    vm.guest.queues[INFLATE].kick()
    load_with_one_call(vm.guest, INFLATE, DEFLATE)
    await activate(vm, RINGS)
    await settled(rig.service)
    assert rig.service.state_name == "running"
    await inflate_and_deflate(rig, vm.guest)


async def test_frames_behind_the_kernel_are_given_back_in_their_own_file(rig) -> None:
    guest = rig.guest()
    kernel = guest.add_region(KERNEL, BEHIND_KERNEL - KERNEL)
    behind = guest.add_region(BEHIND_KERNEL, 8 * MIB)
    load_with_one_call(guest, INFLATE, DEFLATE)
    vm = rig.connect(guest)
    await connect(vm)
    await activate(vm, RINGS)
    for ram in (kernel, behind):
        ram.write(0, b"\xff" * FRAME_BYTES)
    await guest.queues[INFLATE].served(pfns([BEHIND_KERNEL // FRAME_BYTES]))
    assert held(rig) == [(BEHIND_KERNEL // FRAME_BYTES, 1)]
    assert not any(behind.view(0, FRAME_BYTES))
    assert all(kernel.view(0, FRAME_BYTES))


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (4, 4), (0, 8), (8, 4), (1, 1)])
async def test_configuration_space_is_read_in_any_piece(rig, offset: int, length: int) -> None:
    rig.service.set_target(0x010203)
    vm = rig.connect(libkrun_guest(rig))
    await connect(vm)
    whole = actual(0x010203).ljust(16, b"\0")
    assert await vm.config(offset, length) == whole[offset : offset + length]


async def test_a_driver_writes_its_own_field_and_a_config_change_reaches_nobody(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    rig.service.set_target(100)
    await vm.tell(Request.SET_CONFIG, config_piece(4, actual(300)))
    await vm.caught_up()
    assert written(rig) == BalloonConfig(num_pages=100, actual=300)
    await inflate_and_deflate(rig, vm.guest)
