import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import BackendRig, backend_rig, open_descriptors, settled
from support.fake_front_end import (
    DONE,
    MIB,
    QEMU_QUEUES,
    REFUSED,
    RING_FEATURES,
    USER_BASE,
    FakeFrontEnd,
    FakeGuest,
    config_piece,
    event,
    memory_table,
    message,
    pfns,
    qemu_connect,
    qemu_start,
    qemu_stop,
    single_region,
    u64,
    uml_connect,
    uml_probe,
    uml_remove,
    vring_fd,
    vring_state,
)
from support.properties import examples

from protocol.balloon.config_space import BALLOON_CONFIG, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.header import MAX_PAYLOAD_BYTES, MESSAGE_HEADER, MessageHeader
from protocol.vhost_user.payloads import VRING_ADDRESS, MemoryRegionDescription
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature
from vballoond.balloon.facts import QueueStarted
from vballoond.memory.frames import FrameRange
from vballoond.transport.vhost_user.backend import PROTOCOL_FEATURES
from vballoond.transport.vhost_user.changes import RULES

INFLATE, DEFLATE, STATS = range(3)
WITH_STATS = RING_FEATURES | BalloonFeature.STATS_VQ
STATISTICS = STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, 12345))
ALL_MEMORY = FrameRange(0, 1 << 32)


async def started(
    rig: BackendRig,
    *queues: int,
    features: int = RING_FEATURES,
    memory: Request = Request.ADD_MEM_REG,
    protocol_features: int | None = None,
    guest: FakeGuest | None = None,
) -> FakeFrontEnd:
    """Connect and start as QEMU does, with these queues."""
    vm = rig.connect(guest or rig.guest(*queues))
    await qemu_connect(vm, protocol_features=protocol_features)
    await qemu_start(vm, features, memory=memory)
    return vm


def held(rig: BackendRig) -> list[tuple[int, int]]:
    return [(part.first, part.count) for part in rig.service.device.frame_map.ranges(ALL_MEMORY)]


def rung(fd: int) -> bool:
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


# The order of QEMU 10 and 11.


async def test_qemu_connects_starts_and_inflates(rig) -> None:
    vm = rig.connect(rig.guest(INFLATE, DEFLATE))
    features = await qemu_connect(vm)
    assert features == (
        RingFeature.VERSION_1
        | RingFeature.EVENT_IDX
        | RingFeature.INDIRECT_DESC
        | RingFeature.IN_ORDER
        | BalloonFeature.MUST_TELL_HOST
        | BalloonFeature.STATS_VQ
        | BalloonFeature.PAGE_POISON
        | F_PROTOCOL_FEATURES
    )
    assert rig.service.state_name == "waiting"
    assert rig.service.memory.size_bytes == 0

    await qemu_start(vm, RING_FEATURES)
    assert rig.service.state_name == "running"
    assert rig.service.memory.size_bytes == 16 * MIB
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns(range(first, first + 256)))
    assert held(rig) == [(first, 256)]

    await vm.guest.queues[DEFLATE].served(pfns(range(first, first + 100)))
    assert held(rig) == [(first + 100, 156)]


async def test_the_protocol_features_on_offer_are_those_that_work(rig) -> None:
    vm = rig.connect()
    assert await vm.number(Request.GET_PROTOCOL_FEATURES) == (
        ProtocolFeature.MQ
        | ProtocolFeature.REPLY_ACK
        | ProtocolFeature.BACKEND_REQ
        | ProtocolFeature.CONFIG
        | ProtocolFeature.CONFIGURE_MEM_SLOTS
    )


async def test_a_whole_write_of_configuration_space_takes_the_drivers_fields_only(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    rig.service.set_target(1000)
    stale = BalloonConfig(num_pages=7, actual=300, free_page_hint_cmd_id=9, poison_val=0xAA)
    assert await vm.acknowledged(Request.SET_CONFIG, config_piece(0, BALLOON_CONFIG.pack(stale))) == DONE
    assert BALLOON_CONFIG.unpack(await vm.config()) == BalloonConfig(1000, 300, 0, 0xAA)
    assert rig.service.target_frames == 1000
    assert rig.service.actual_frames == 300


@pytest.mark.parametrize(("offset", "length"), [(0, 16), (0, 4), (0, 8), (4, 4), (0, 12), (252, 4)])
async def test_configuration_space_is_read_in_any_piece(rig, offset: int, length: int) -> None:
    vm = rig.connect()
    rig.service.set_target(0x01020304)
    whole = BALLOON_CONFIG.pack(BalloonConfig(0x01020304)).ljust(256, b"\0")
    assert await vm.config(offset, length) == whole[offset : offset + length]


async def test_configuration_space_is_written_where_the_driver_says(rig) -> None:
    vm = rig.connect()
    vm.send(Request.SET_CONFIG, config_piece(4, (77).to_bytes(4, "little"), flags=1))
    vm.send(Request.SET_CONFIG, config_piece(0, (99).to_bytes(4, "little"), flags=1))
    assert BALLOON_CONFIG.unpack(await vm.config()) == BalloonConfig(actual=77)


async def test_a_config_change_is_kept_until_a_ring_runs(rig) -> None:
    vm = rig.connect(rig.guest(INFLATE, DEFLATE))
    await qemu_connect(vm)
    rig.service.set_target(100)
    await settled(rig.service)
    assert not vm.config_change_waits()

    await qemu_start(vm, RING_FEATURES)
    await vm.config_change()
    assert not vm.config_change_waits()


async def test_a_config_change_is_announced_at_once_while_a_ring_runs(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    rig.service.set_target(100)
    await vm.config_change()
    rig.service.set_target(200)
    rig.service.set_target(200)
    await vm.config_change()
    assert not vm.config_change_waits()


async def test_no_config_change_comes_after_the_rings_stopped(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    bases = await qemu_stop(vm)
    rig.service.set_target(100)
    await vm.caught_up()
    assert not vm.config_change_waits()

    await qemu_start(vm, RING_FEATURES, memory=None, bases=bases)
    await vm.config_change()


async def test_no_config_change_comes_before_every_ring_is_both_started_and_enabled(rig) -> None:
    vm = rig.connect(rig.guest(INFLATE, DEFLATE))
    await qemu_connect(vm)
    rig.service.set_target(100)
    vm.send(Request.SET_FEATURES, u64(RING_FEATURES | F_PROTOCOL_FEATURES))
    vm.send(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds())
    for index, queue in vm.guest.queues.items():
        vm.send(Request.SET_VRING_NUM, vring_state(index, queue.size))
        vm.send(Request.SET_VRING_BASE, vring_state(index, 0))
        vm.send_address(index)
        vm.send_kick(index)
    await vm.caught_up()
    assert not vm.config_change_waits()

    assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(INFLATE, 1)) == DONE
    await vm.caught_up()
    assert not vm.config_change_waits()
    assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(DEFLATE, 1)) == DONE
    await vm.config_change()


async def test_no_config_change_comes_once_the_first_ring_is_disabled(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(INFLATE, 0)) == DONE
    rig.service.set_target(100)
    await vm.caught_up()
    assert not vm.config_change_waits()
    assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(INFLATE, 1)) == DONE
    await vm.config_change()


async def test_a_config_change_on_a_full_channel_comes_after_the_next_message(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    sent = 0
    # Nobody reads the channel: more and more announcements, until the kernel takes no more of them.
    while sent < 100_000:
        sent += 1
        rig.service.set_target(sent)
        if rig.backend._config_change_due:
            break
    taken = sent - 1
    for _ in range(taken):
        await vm.config_change()
    assert not vm.config_change_waits()

    await vm.caught_up()
    await vm.config_change()


async def test_a_backend_channel_that_was_closed_hurts_nobody(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    vm.close_backend_channel()
    rig.service.set_target(100)
    assert await vm.number(Request.GET_QUEUE_NUM) == QEMU_QUEUES
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))


async def test_every_message_that_wants_an_acknowledgement_gets_one(rig) -> None:
    vm = rig.connect(rig.guest(INFLATE, DEFLATE))
    guest, queue = vm.guest, vm.guest.queues[INFLATE]
    channel = vm.open_backend_channel()
    chart = [
        (Request.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES), []),
        (Request.SET_OWNER, b"", []),
        (Request.SET_FEATURES, u64(RING_FEATURES | F_PROTOCOL_FEATURES), []),
        (Request.SET_BACKEND_REQ_FD, b"", [channel]),
        (Request.SET_MEM_TABLE, memory_table(guest.regions), vm.memory_fds()),
        (Request.SET_VRING_CALL, vring_fd(INFLATE), [queue.call_fd]),
        (Request.SET_VRING_ERR, vring_fd(INFLATE), [queue.error_fd]),
        (Request.SET_VRING_NUM, vring_state(INFLATE, 128), []),
        (Request.SET_VRING_BASE, vring_state(INFLATE, 0), []),
        (Request.SET_VRING_ADDR, VRING_ADDRESS.pack(guest.vring_address(INFLATE)), []),
        (Request.SET_VRING_KICK, vring_fd(INFLATE), [queue.kick_fd]),
        (Request.SET_VRING_ENABLE, vring_state(INFLATE, 1), []),
        (Request.SET_CONFIG, config_piece(4, bytes(4)), []),
        (Request.RESET_DEVICE, b"", []),
        (Request.RESET_OWNER, b"", []),
        (Request.SET_MEM_TABLE, memory_table([]), []),
        (Request.ADD_MEM_REG, single_region(guest.regions[0]), [guest.ram.fd]),
        (Request.REM_MEM_REG, single_region(guest.regions[0]), [guest.ram.fd]),
    ]
    for request, payload, fds in chart:
        assert await vm.acknowledged(request, payload, fds) == DONE, request
    os.close(channel)
    own_replies = {
        Request.GET_FEATURES,
        Request.GET_PROTOCOL_FEATURES,
        Request.GET_QUEUE_NUM,
        Request.GET_MAX_MEM_SLOTS,
        Request.GET_CONFIG,
        Request.GET_VRING_BASE,
    }
    assert {request for request, _, _ in chart} | own_replies == set(RULES)
    await vm.caught_up()


async def test_nothing_is_acknowledged_before_that_was_negotiated(rig) -> None:
    vm = rig.connect()
    vm.send(Request.SET_OWNER, need_reply=True)
    vm.send(Request.SET_FEATURES, u64(1 << 63), need_reply=True)
    vm.send(1000, need_reply=True)
    await vm.caught_up()


@pytest.mark.parametrize("request_number", [0, Request.SET_LOG_BASE, Request.SET_STATUS, Request.VRING_KICK, 1000])
async def test_an_unknown_message_is_refused_where_somebody_waits_and_passed_over_elsewhere(
    rig, request_number: int
) -> None:
    vm = rig.connect()
    await qemu_connect(vm)
    assert await vm.acknowledged(request_number, bytes(24)) == REFUSED
    vm.send(request_number, bytes(24))
    await vm.caught_up()


async def test_a_payload_larger_than_any_is_refused_and_the_connection_goes_on(rig) -> None:
    vm = rig.connect()
    await qemu_connect(vm)
    before = open_descriptors()
    payload = bytes(MAX_PAYLOAD_BYTES + 1)
    assert await vm.acknowledged(Request.SET_CONFIG, payload, [vm.guest.ram.fd]) == REFUSED
    vm.send(Request.SET_CONFIG, payload)
    await vm.caught_up()
    assert open_descriptors() == before


async def test_a_message_with_more_descriptors_than_any_is_refused_and_the_connection_goes_on(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, Request.SET_VRING_CALL, vring_fd(INFLATE), [event_of(vm)] * 33)


async def test_rings_that_the_guest_never_set_up_are_enabled_and_asked_for_their_positions(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    assert set(rig.backend.session.running()) == {INFLATE, DEFLATE}
    assert await vm.vring_base(3) == 0
    assert await vm.vring_base(4) == 0
    assert set(rig.backend.session.running()) == {INFLATE, DEFLATE}


async def test_a_ring_stops_at_its_position_and_is_served_no_more(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))
    await inflate.served(pfns([first + 1]))
    assert await vm.vring_base(INFLATE) == 2

    inflate.request(pfns([first + 2]))
    # The other ring still runs: once it was served, the stopped one would have been.
    await vm.guest.queues[DEFLATE].served(pfns([first]))
    assert held(rig) == [(first + 1, 1)]
    assert inflate.ring.get_used() is None
    assert rig.service.state_name == "running"


async def test_a_stopped_vm_goes_on_where_it_stopped_without_memory_messages(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns(range(first, first + 10)))
    bases = await qemu_stop(vm)
    assert bases == {INFLATE: 1, DEFLATE: 0}
    assert rig.service.state_name == "paused"
    assert rig.service.memory.size_bytes == 16 * MIB
    assert held(rig) == [(first, 10)]

    head = inflate.add(pfns([first + 10]))
    await qemu_start(vm, RING_FEATURES, memory=None, bases=bases)
    # Nobody kicked: what was made available while the rings stood still is found all the same.
    assert await inflate.used() == head
    assert held(rig) == [(first, 11)]
    assert rig.service.state_name == "running"


async def test_a_stopped_vm_may_send_its_memory_table_again(rig) -> None:
    without_slots = PROTOCOL_FEATURES & ~ProtocolFeature.CONFIGURE_MEM_SLOTS
    vm = await started(rig, INFLATE, memory=Request.SET_MEM_TABLE, protocol_features=without_slots)
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first]))
    bases = await qemu_stop(vm)
    await qemu_start(vm, RING_FEATURES, memory=Request.SET_MEM_TABLE, bases=bases)
    await vm.guest.queues[INFLATE].served(pfns([first + 1]))
    assert held(rig) == [(first, 2)]


async def test_a_driver_that_starts_from_the_beginning_finds_an_empty_balloon(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first]))
    vm.send(Request.SET_CONFIG, config_piece(4, (1).to_bytes(4, "little")))
    await qemu_stop(vm)
    assert held(rig) == [(first, 1)]

    vm.guest.add_queue(INFLATE)
    vm.guest.add_queue(DEFLATE)
    await qemu_start(vm, RING_FEATURES, memory=None)
    assert held(rig) == []
    assert rig.service.actual_frames == 0
    await vm.guest.queues[INFLATE].served(pfns([first + 5]))
    assert held(rig) == [(first + 5, 1)]


async def test_a_ring_that_runs_may_be_set_up_anew_and_begins_where_it_is_told(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    for number in range(3):
        await vm.guest.queues[INFLATE].served(pfns([first + number]))
    inflate = vm.guest.add_queue(INFLATE)
    assert await vm.acknowledged(Request.SET_VRING_BASE, vring_state(INFLATE, 0)) == DONE
    assert set(rig.backend.session.running()) == {DEFLATE}
    vm.send_address(INFLATE)
    vm.send_call(INFLATE)
    vm.send_kick(INFLATE)
    await inflate.served(pfns([first + 9]))
    assert held(rig) == [(first + 9, 1)]


async def test_a_front_end_that_goes_leaves_nothing_behind_but_the_target(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    rig.service.set_target(500)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
    await rig.disconnect(vm)

    assert held(rig) == []
    assert rig.service.state_name == "waiting"
    assert rig.service.memory.size_bytes == 0
    assert rig.service.negotiated_features == 0
    assert not rig.service.connected
    assert rig.service.target_frames == 500


async def test_the_next_front_end_finds_the_target(rig) -> None:
    rig.service.set_target(321)
    vm = await started(rig, INFLATE, DEFLATE)
    assert BALLOON_CONFIG.unpack(await vm.config()).num_pages == 321
    await rig.disconnect(vm)
    vm = await started(rig, INFLATE, DEFLATE)
    assert BALLOON_CONFIG.unpack(await vm.config()).num_pages == 321


async def test_a_target_beyond_the_memory_that_came_is_cut_to_it(rig) -> None:
    rig.service.set_target(1 << 20)
    vm = await started(rig, INFLATE, DEFLATE)
    assert BALLOON_CONFIG.unpack(await vm.config()).num_pages == 16 * MIB // FRAME_BYTES


async def test_a_target_outlives_memory_that_comes_piece_by_piece(rig) -> None:
    # As a machine with a hole under 1 MiB sends it: the first piece is smaller than the target.
    regions = [
        MemoryRegionDescription(0, 0xA0000, USER_BASE, 0),
        MemoryRegionDescription(0xC0000, 8 * MIB - 0xC0000, USER_BASE + 0xC0000, 0xC0000),
        MemoryRegionDescription(1 << 32, 8 * MIB, USER_BASE + 8 * MIB, 8 * MIB),
    ]
    rig.service.set_target(2048)
    vm = rig.connect(rig.guest(ram_bytes=16 * MIB, regions=regions))
    await qemu_connect(vm)
    await qemu_start(vm, RING_FEATURES)
    assert rig.service.memory.size_bytes == 16 * MIB - 0x20000
    assert rig.service.target_frames == 2048


async def test_frames_on_both_sides_of_a_hole_are_held_and_those_in_it_are_not(rig) -> None:
    regions = [
        MemoryRegionDescription(0, 8 * MIB, USER_BASE, 0),
        MemoryRegionDescription(1 << 32, 8 * MIB, USER_BASE + 8 * MIB, 8 * MIB),
    ]
    guest = rig.guest(INFLATE, ram_bytes=16 * MIB, regions=regions)
    vm = await started(rig, guest=guest)
    high = (1 << 32) // FRAME_BYTES
    await guest.queues[INFLATE].served(pfns([2047, 2048, high - 1, high, high + 2047, high + 2048, 0xFFFFFFFF]))
    assert held(rig) == [(2047, 1), (high, 1), (high + 2047, 1)]
    assert rig.service.device.counters.foreign_frames == 4
    assert await vm.number(Request.GET_QUEUE_NUM) == QEMU_QUEUES


async def test_memory_beyond_what_frame_numbers_can_name_is_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    far = MemoryRegionDescription((1 << 44) - 4 * MIB, 4 * MIB, USER_BASE + 16 * MIB, 8 * MIB)
    beyond = far._replace(guest_address=far.guest_address + FRAME_BYTES)
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(beyond), [vm.guest.ram.fd])
    assert await vm.acknowledged(Request.ADD_MEM_REG, single_region(far), [vm.guest.ram.fd]) == DONE
    await vm.guest.queues[INFLATE].served(pfns([first, 0xFFFFFFFF]))
    assert held(rig) == [(first, 1), (0xFFFFFFFF, 1)]


# Statistics.


async def test_a_held_statistics_buffer_is_the_rings_again_when_it_stops(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    stats = vm.guest.queues[STATS]
    head = stats.request(STATISTICS)
    await rig.facts.until_requested(QueueRole.STATS)
    assert rig.service.device.state.statistics.values == {StatisticTag.FREE_MEMORY: 12345}

    bases = await qemu_stop(vm)
    assert bases[STATS] == 0
    assert stats.ring.get_used() is None

    await qemu_start(vm, WITH_STATS, memory=None, bases=bases)
    await rig.facts.until_requested(QueueRole.STATS, times=2)
    assert rig.service.device.state.held_statistics_head == head


async def test_a_statistics_buffer_that_came_back_is_not_taken_back(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    stats = vm.guest.queues[STATS]
    head = stats.request(STATISTICS)
    await rig.facts.until_requested(QueueRole.STATS)
    rig.service._statistics_due()
    assert await stats.used() == head
    assert (await qemu_stop(vm))[STATS] == 1


# Queue numbers.


@pytest.mark.parametrize("features", [RING_FEATURES, RING_FEATURES | BalloonFeature.PAGE_POISON])
async def test_the_third_queue_is_nothing_without_statistics(rig, features: int) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=features)
    roles = [fact.role for fact in rig.facts.of(QueueStarted)]
    assert roles == [QueueRole.INFLATE, QueueRole.DEFLATE]
    assert await vm.vring_base(STATS) == 0


async def test_the_third_queue_is_for_statistics_where_they_were_negotiated(rig) -> None:
    await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    roles = [fact.role for fact in rig.facts.of(QueueStarted)]
    assert roles == [QueueRole.INFLATE, QueueRole.DEFLATE, QueueRole.STATS]


@pytest.mark.parametrize("number", [2, 4])
async def test_reporting_has_the_number_that_linux_gives_it_or_that_of_the_specification(number: int) -> None:
    async with backend_rig(features=["page-reporting"]) as rig:
        features = RING_FEATURES | BalloonFeature.PAGE_REPORTING
        vm = await started(rig, INFLATE, DEFLATE, number, features=features)
        guest, first = vm.guest, vm.guest.first_free_pfn()
        guest.touch_own_memory()
        guest.touch(first, 512)
        before = guest.resident_bytes()
        head = guest.queues[number].ring.add(first * FRAME_BYTES, 256 * FRAME_BYTES, device_writes=True)
        guest.queues[number].kick()
        assert await guest.queues[number].used() == head
        assert guest.resident_bytes() == before - 256 * FRAME_BYTES
        assert rig.service.releasing.reclaimed_bytes == 256 * FRAME_BYTES
        # Reported frames are still the guest's.
        assert held(rig) == []
        assert set(rig.backend.session.running()) == {INFLATE, DEFLATE, number}


# User-mode Linux 6.1.


def uml_guest(rig: BackendRig, *queues: int) -> FakeGuest:
    """Guest addresses, user addresses and file offsets are the same, and begin far from 0."""
    base, size = 0x28EE1000, 0xF579000
    region = MemoryRegionDescription(base, size, base, base)
    return rig.guest(*queues, ram_bytes=base + size, regions=[region])


async def test_user_mode_linux_connects_probes_and_inflates(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE, STATS))
    await uml_connect(vm)
    await uml_probe(vm, WITH_STATS | F_PROTOCOL_FEATURES)
    assert rig.service.state_name == "running"
    assert rig.service.memory.size_bytes == 0xF579000
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first, 1, first + 1]))
    assert held(rig) == [(first, 2)]
    assert rig.service.device.counters.foreign_frames == 1
    assert len(await vm.config(0, 4)) == 4


async def test_user_mode_linux_loads_its_driver_again_without_asking_for_positions(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE, STATS))
    await uml_connect(vm)
    await uml_probe(vm, WITH_STATS | F_PROTOCOL_FEATURES)
    first = vm.guest.first_free_pfn()
    vm.guest.queues[STATS].request(STATISTICS)
    await rig.facts.until_requested(QueueRole.STATS)
    await vm.guest.queues[INFLATE].served(pfns([first]))
    await uml_remove(vm)
    assert rig.service.state_name == "paused"
    assert rig.service.device.state.held_statistics_head is None

    for index in list(vm.guest.queues):
        vm.guest.add_queue(index)
    await uml_probe(vm, WITH_STATS | F_PROTOCOL_FEATURES)
    assert held(rig) == []
    head = vm.guest.queues[STATS].request(STATISTICS)
    await rig.facts.until_requested(QueueRole.STATS, times=2)
    assert rig.service.device.state.held_statistics_head == head
    await vm.guest.queues[INFLATE].served(pfns([first + 1]))
    assert held(rig) == [(first + 1, 1)]


async def test_user_mode_linux_that_suspends_goes_on_where_it_was(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE))
    await uml_connect(vm)
    await uml_probe(vm, RING_FEATURES | F_PROTOCOL_FEATURES)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))
    for value in (0, 1):
        for index in vm.guest.queues:
            assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, value)) == DONE
    await inflate.served(pfns([first + 1]))
    assert held(rig) == [(first, 2)]


async def test_user_mode_linux_that_lost_protocol_features_stops_its_rings_by_asking_for_features(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE))
    await uml_connect(vm)
    await uml_probe(vm, RING_FEATURES)
    assert rig.service.state_name == "running"
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))

    await vm.number(Request.GET_FEATURES)
    assert rig.service.state_name == "paused"
    inflate.request(pfns([first + 1]))
    await vm.caught_up()
    await settled(rig.service)
    assert inflate.ring.get_used() is None
    assert held(rig) == [(first, 1)]


async def test_user_mode_linux_without_protocol_features_can_set_its_rings_up_again(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE))
    await uml_connect(vm)
    for _ in range(2):
        for index in (INFLATE, DEFLATE):
            vm.guest.add_queue(index)
        await uml_probe(vm, RING_FEATURES)
        await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
        assert held(rig) == [(vm.guest.first_free_pfn(), 1)]
        await vm.number(Request.GET_FEATURES)


async def test_a_kick_comes_by_a_socket_and_a_call_goes_to_one(rig) -> None:
    vm = rig.connect(uml_guest(rig, INFLATE, DEFLATE))
    await uml_connect(vm)
    await uml_probe(vm, RING_FEATURES | F_PROTOCOL_FEATURES)
    inflate = vm.guest.queues[INFLATE]
    kick_here, kick_there = socket.socketpair()
    call_here, call_there = socket.socketpair()
    with kick_here, kick_there, call_here, call_there:
        call_here.setblocking(False)
        vm.send(Request.SET_VRING_KICK, vring_fd(INFLATE), [kick_there.fileno()])
        vm.send(Request.SET_VRING_CALL, vring_fd(INFLATE), [call_there.fileno()])
        await vm.caught_up()
        head = inflate.add(pfns([vm.guest.first_free_pfn()]))
        kick_here.send(b"\1\0\0\0\0\0\0\0")
        assert await asyncio.get_running_loop().sock_recv(call_here, 100) == (1).to_bytes(8, "little")
        assert inflate.ring.get_used() == head


# Descriptors.


async def test_replaced_descriptors_are_closed(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    before = open_descriptors()
    for _ in range(50):
        for index, queue in vm.guest.queues.items():
            assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(index), [queue.kick_fd]) == DONE
            assert await vm.acknowledged(Request.SET_VRING_CALL, vring_fd(index), [queue.call_fd]) == DONE
            assert await vm.acknowledged(Request.SET_VRING_ERR, vring_fd(index), [queue.error_fd]) == DONE
        assert await vm.acknowledged(Request.SET_MEM_TABLE, memory_table(vm.guest.regions), vm.memory_fds()) == DONE
    await vm.caught_up()
    assert open_descriptors() == before


async def test_many_starts_and_stops_leave_no_descriptor_and_no_mapping(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE, STATS, features=WITH_STATS)
    before = open_descriptors()
    for _ in range(30):
        bases = await qemu_stop(vm)
        await qemu_start(vm, WITH_STATS, memory=Request.SET_MEM_TABLE, bases=bases)
    assert open_descriptors() == before
    assert mappings_of(vm.guest) == 2  # the guest's own, and the one that is served


async def test_a_connection_that_ended_leaves_no_descriptor_and_no_mapping(rig) -> None:
    guest = rig.guest(INFLATE, DEFLATE, STATS)
    before = open_descriptors()
    for _ in range(10):
        vm = await started(rig, features=WITH_STATS, guest=guest)
        await rig.disconnect(vm)
    assert open_descriptors() == before
    assert mappings_of(guest) == 1


async def test_refused_messages_leave_no_descriptor(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await qemu_stop(vm)
    before = open_descriptors()
    for request in range(60):
        vm.send(request, bytes(3), [vm.guest.ram.fd] * 3, need_reply=True)
        assert (await vm.reply()).request == request
    assert open_descriptors() == before


def mappings_of(guest: FakeGuest) -> int:
    inode = os.fstat(guest.ram.fd).st_ino
    with Path("/proc/self/maps").open() as maps:
        return sum(line.split()[4] == str(inode) and "memfd:vballoond-fake" in line for line in maps)


# Refusals: nothing changes, and the connection goes on.


@pytest.fixture
def plain_file(tmp_path) -> Iterator[int]:
    fd = os.open(tmp_path / "plain", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


async def refused(rig: BackendRig, vm: FakeFrontEnd, request: int, payload: bytes, fds: list[int]) -> None:
    """Send what cannot be; see that it is refused, and that nothing came of it."""
    before = rig.backend.session, rig.service.memory, held(rig), rig.service.target_frames, open_descriptors()
    assert await vm.acknowledged(request, payload, fds) == REFUSED
    assert before == (
        rig.backend.session,
        rig.service.memory,
        held(rig),
        rig.service.target_frames,
        open_descriptors(),
    )
    first = vm.guest.first_free_pfn()
    if rig.service.state_name == "running":
        await vm.guest.queues[INFLATE].served(pfns([first]))
        await vm.guest.queues[DEFLATE].served(pfns([first]))


@pytest.mark.parametrize("runs", [False, True])
async def test_memory_that_cannot_be_is_refused(rig, runs: bool) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    if not runs:
        await qemu_stop(vm)
    region, fd = vm.guest.regions[0], vm.guest.ram.fd
    beside = region._replace(guest_address=region.memory_size)

    overlapping = beside._replace(guest_address=region.memory_size - FRAME_BYTES)
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(overlapping), [fd])
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([region, overlapping]), [fd, fd])
    longer = beside._replace(memory_size=region.memory_size + FRAME_BYTES)
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(longer), [fd])
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([region, longer]), [fd, fd])
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(beside), [])
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(beside), [fd, fd])
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([region]), [fd, fd])
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(beside), [event_of(vm)])
    await refused(rig, vm, Request.REM_MEM_REG, single_region(beside), [])
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(region), [fd])


def event_of(vm: FakeFrontEnd) -> int:
    """A descriptor that is no file at all."""
    return vm.guest.queues[INFLATE].kick_fd


async def test_a_read_only_memory_file_is_refused(rig, tmp_path) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    path = tmp_path / "memory"
    path.write_bytes(bytes(MIB))
    fd = os.open(path, os.O_RDONLY)
    region = MemoryRegionDescription(1 << 32, MIB, USER_BASE + (1 << 32), 0)
    await refused(rig, vm, Request.ADD_MEM_REG, single_region(region), [fd])
    os.close(fd)


async def test_memory_without_the_rings_that_run_in_it_is_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    region, fd = vm.guest.regions[0], vm.guest.ram.fd
    await refused(rig, vm, Request.REM_MEM_REG, single_region(region), [])
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([]), [])
    elsewhere = region._replace(user_address=region.user_address + (1 << 30))
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([elsewhere]), [fd])
    # One of the two rings would still be in memory, the other would not.
    cut = vm.guest.vring_address(DEFLATE).descriptor - region.user_address
    part = region._replace(memory_size=cut - cut % FRAME_BYTES)
    assert vm.guest.vring_address(INFLATE).used + 0x1000 < region.user_address + part.memory_size
    await refused(rig, vm, Request.SET_MEM_TABLE, memory_table([part]), [fd])


async def test_a_ring_that_cannot_be_is_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    address = vm.guest.vring_address(INFLATE)
    for wrong in (
        address._replace(descriptor=address.descriptor + 8),
        address._replace(available=address.available + 1),
        address._replace(used=address.used + 2),
        address._replace(ring=5),
    ):
        await refused(rig, vm, Request.SET_VRING_ADDR, VRING_ADDRESS.pack(wrong), [])
    await refused(rig, vm, Request.SET_VRING_NUM, vring_state(INFLATE, 100), [])
    await refused(rig, vm, Request.SET_VRING_BASE, vring_state(INFLATE, 0x10000), [])
    await refused(rig, vm, Request.SET_VRING_ENABLE, vring_state(INFLATE, 2), [])
    await refused(rig, vm, Request.SET_VRING_ENABLE, vring_state(5, 1), [])
    await refused(rig, vm, Request.SET_VRING_ENABLE, b"", [])


@pytest.mark.parametrize("part", ["descriptor", "available", "used"])
async def test_a_ring_outside_of_memory_is_not_started(rig, part: str) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    right = vm.guest.vring_address(INFLATE)
    region = vm.guest.regions[0]
    for wrong_address in (0, region.user_address + region.memory_size - 16, (1 << 64) - 16):
        wrong = right._replace(**{part: wrong_address})
        assert await vm.acknowledged(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(wrong)) == DONE
        kick = vm.guest.queues[INFLATE].kick_fd
        before = rig.backend.session, open_descriptors()
        assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(INFLATE), [kick]) == REFUSED
        assert (rig.backend.session, open_descriptors()) == before
        assert set(rig.backend.session.running()) == {DEFLATE}

    assert await vm.acknowledged(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(right)) == DONE
    assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(INFLATE), [kick]) == DONE
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))


@pytest.mark.parametrize("request_number", [Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR])
async def test_a_doorbell_that_cannot_be_waited_for_is_refused(rig, plain_file: int, request_number: Request) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, request_number, vring_fd(INFLATE), [plain_file])
    await refused(rig, vm, request_number, vring_fd(INFLATE), [])
    await refused(rig, vm, request_number, vring_fd(INFLATE), [event_of(vm)] * 2)
    await refused(rig, vm, request_number, vring_fd(5), [event_of(vm)])


async def test_a_backend_channel_that_cannot_be_waited_for_is_refused(rig, plain_file: int) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, Request.SET_BACKEND_REQ_FD, b"", [plain_file])
    rig.service.set_target(5)
    await vm.config_change()


async def test_features_that_were_not_offered_are_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, Request.SET_FEATURES, u64(RING_FEATURES | RingFeature.RING_PACKED), [])
    await refused(rig, vm, Request.SET_FEATURES, u64(1 << 26), [])
    await refused(rig, vm, Request.SET_PROTOCOL_FEATURES, u64(ProtocolFeature.INBAND_NOTIFICATIONS), [])


async def test_a_write_beyond_configuration_space_is_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, Request.SET_CONFIG, config_piece(255, bytes(4)), [])
    await refused(rig, vm, Request.SET_CONFIG, config_piece(0, bytes(8))[:-1], [])
    assert await vm.ask(Request.GET_CONFIG, config_piece(255, bytes(4))) == b""


async def test_another_version_ends_the_connection_and_only_that(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    vm.send_bytes(message(Request.SET_OWNER, version=2))
    await vm.ended()
    assert rig.service.state_name == "waiting"
    await started(rig, INFLATE, DEFLATE)
    assert rig.service.state_name == "running"


async def test_a_front_end_that_breaks_off_inside_a_message_is_gone(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    before = open_descriptors()
    vm.send_bytes(message(Request.SET_FEATURES, u64(0))[:-3], [vm.guest.ram.fd])
    await rig.disconnect(vm)
    assert rig.service.state_name == "waiting"
    assert open_descriptors() < before


async def test_a_front_end_that_does_not_read_its_replies_is_gone_when_it_closes(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    vm.send(Request.GET_FEATURES)
    vm.send(Request.GET_QUEUE_NUM)
    await settled(rig.service)
    await rig.disconnect(vm)
    assert rig.service.state_name == "waiting"


# Memory that changes under rings that run.


async def test_regions_come_and_go_while_rings_run(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))
    plugged = MemoryRegionDescription(1 << 32, 4 * MIB, USER_BASE + (1 << 32), 8 * MIB)
    beyond = (1 << 32) // FRAME_BYTES

    assert await vm.acknowledged(Request.ADD_MEM_REG, single_region(plugged), [vm.guest.ram.fd]) == DONE
    await inflate.served(pfns([beyond, beyond + 1024]))
    assert held(rig) == [(first, 1), (beyond, 1)]
    assert rig.service.memory.size_bytes == 20 * MIB

    unplugged = single_region(plugged._replace(mmap_offset=0))
    assert await vm.acknowledged(Request.REM_MEM_REG, unplugged) == DONE
    assert held(rig) == [(first, 1)]
    await inflate.served(pfns([beyond, first + 1]))
    assert held(rig) == [(first, 2)]
    assert rig.service.memory.size_bytes == 16 * MIB
    assert await vm.vring_base(INFLATE) == 3


async def test_a_request_that_waits_is_served_after_memory_changed(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    plugged = MemoryRegionDescription(1 << 32, 4 * MIB, USER_BASE + (1 << 32), 8 * MIB)
    vm.send(Request.ADD_MEM_REG, single_region(plugged), [vm.guest.ram.fd])
    await inflate.served(pfns([first]))
    assert held(rig) == [(first, 1)]


# Kicks and calls.


async def test_a_ring_is_looked_at_when_it_gets_another_kick_descriptor(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))
    # The kick for this one went to the descriptor before, and was read by somebody else.
    head = inflate.add(pfns([first + 1]))
    vm.send_kick(INFLATE)
    await vm.caught_up()
    await settled(rig.service)
    assert inflate.ring.get_used() == head


async def test_a_ring_that_would_have_to_be_polled_is_refused(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await refused(rig, vm, Request.SET_VRING_KICK, vring_fd(INFLATE, none=True), [])


async def test_a_new_kick_descriptor_is_listened_to_and_the_one_before_is_not(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    other = event()
    assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(INFLATE), [other]) == DONE
    head = inflate.add(pfns([first]))
    os.eventfd_write(other, 1)
    assert await inflate.used() == head
    os.close(other)
    os.eventfd_write(inflate.kick_fd, 1)
    await vm.caught_up()
    assert rung(inflate.kick_fd)


async def test_kicks_are_heard_however_often_their_descriptor_is_replaced(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    for number in range(5):
        assert await vm.acknowledged(Request.SET_VRING_KICK, vring_fd(INFLATE), [inflate.kick_fd]) == DONE
        await settled(rig.service)
        await inflate.served(pfns([first + number]))


async def test_the_driver_is_notified_by_the_newest_call_descriptor(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    other = event()
    assert await vm.acknowledged(Request.SET_VRING_CALL, vring_fd(INFLATE), [other]) == DONE
    assert inflate.ring.get_used() is None
    inflate.request(pfns([first]))
    await settled(rig.service)
    assert rung(other)
    assert not rung(inflate.call_fd)
    os.close(other)


async def test_the_driver_says_with_event_idx_when_it_wants_to_hear(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    inflate.ring._avail[inflate.ring.geometry.used_event_word] = 2
    inflate.ring._avail[0] = 1  # the flag of old, which does not count
    for number in range(2):
        inflate.request(pfns([first + number]))
        await settled(rig.service)
        assert not rung(inflate.call_fd)
    inflate.request(pfns([first + 2]))
    await settled(rig.service)
    assert rung(inflate.call_fd)


async def test_the_driver_says_with_a_flag_whether_it_wants_to_hear_without_event_idx(rig) -> None:
    guest = rig.guest()
    inflate = guest.add_queue(INFLATE, event_idx=False)
    vm = await started(rig, features=RingFeature.VERSION_1, guest=guest)
    inflate.ring._avail[0] = 1
    inflate.request(pfns([guest.first_free_pfn()]))
    await settled(rig.service)
    assert held(rig) == [(guest.first_free_pfn(), 1)]
    assert not rung(inflate.call_fd)
    inflate.ring._avail[0] = 0
    inflate.request(pfns([guest.first_free_pfn() + 1]))
    await vm.caught_up()
    await settled(rig.service)
    assert rung(inflate.call_fd)


@pytest.mark.parametrize("negotiated", [False, True])
async def test_an_indirect_descriptor_is_followed_where_that_was_negotiated(rig, negotiated: bool) -> None:
    features = RING_FEATURES | (RingFeature.INDIRECT_DESC if negotiated else 0)
    vm = await started(rig, INFLATE, DEFLATE, features=features)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    data, table = first * FRAME_BYTES, (first + 1) * FRAME_BYTES
    vm.guest.ram.write(data, pfns([first + 2]))
    vm.guest.ram.write(table, DESCRIPTOR.pack(Descriptor(data, 4, 0, 0)))
    head = inflate.ring.add(table, DESCRIPTOR.size)
    DESCRIPTOR.pack_into(
        inflate.ring._table, head * DESCRIPTOR.size, Descriptor(table, DESCRIPTOR.size, DescriptorFlag.INDIRECT, 0)
    )
    inflate.kick()
    await vm.caught_up()
    await settled(rig.service)
    assert rig.service.state_name == ("running" if negotiated else "broken")
    assert held(rig) == ([(first + 2, 1)] if negotiated else [])


async def test_a_ring_without_a_call_descriptor_is_served_all_the_same(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate = vm.guest.queues[INFLATE]
    assert await vm.acknowledged(Request.SET_VRING_CALL, vring_fd(INFLATE, none=True)) == DONE
    head = inflate.request(pfns([vm.guest.first_free_pfn()]))
    await settled(rig.service)
    assert inflate.ring.get_used() == head
    assert not rung(inflate.call_fd)


async def test_a_reset_stops_everything_until_it_is_set_up_again(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    assert await vm.acknowledged(Request.RESET_DEVICE) == DONE
    assert rig.service.state_name == "paused"
    vm.guest.add_queue(INFLATE)
    vm.guest.add_queue(DEFLATE)
    await qemu_start(vm, RING_FEATURES, memory=None)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))


# A driver that breaks the rules.


async def break_inflateq(rig: BackendRig, vm: FakeFrontEnd) -> None:
    """The available index jumps further than the queue is long."""
    inflate = vm.guest.queues[INFLATE]
    inflate.ring._avail[1] = 0x8000
    inflate.kick()
    await vm.caught_up()
    await settled(rig.service)


async def test_a_driver_that_breaks_its_ring_breaks_the_balloon_and_nothing_else(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate, first = vm.guest.queues[INFLATE], vm.guest.first_free_pfn()
    await inflate.served(pfns([first]))
    await break_inflateq(rig, vm)

    assert rig.service.state_name == "broken"
    assert rig.service.broken_reason.startswith("inflateq: the available index is ")
    assert rig.service.device.counters.guest_errors == 1
    assert rung(inflate.error_fd)
    assert held(rig) == [(first, 1)]
    assert await vm.number(Request.GET_QUEUE_NUM) == QEMU_QUEUES
    assert len(await vm.config()) == 16

    head = vm.guest.queues[DEFLATE].request(pfns([first]))
    await vm.caught_up()
    await settled(rig.service)
    assert vm.guest.queues[DEFLATE].ring.get_used() is None
    assert head == 0


async def test_a_broken_balloon_is_mended_by_a_new_set_up(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await break_inflateq(rig, vm)
    await qemu_stop(vm)
    assert rig.service.state_name == "broken"

    vm.guest.add_queue(INFLATE)
    vm.guest.add_queue(DEFLATE)
    await qemu_start(vm, RING_FEATURES, memory=None)
    assert rig.service.state_name == "running"
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first]))
    assert held(rig) == [(first, 1)]


async def test_a_broken_balloon_is_mended_by_the_next_front_end(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    await break_inflateq(rig, vm)
    await rig.disconnect(vm)
    assert rig.service.state_name == "waiting"
    vm = await started(rig, INFLATE, DEFLATE)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))


async def test_a_request_outside_of_memory_breaks_the_balloon_and_stays_in_its_ring(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    inflate = vm.guest.queues[INFLATE]
    await inflate.served(pfns([vm.guest.first_free_pfn()]))
    inflate.ring.add(16 * MIB - 4, 8)
    inflate.kick()
    await vm.caught_up()
    await settled(rig.service)
    assert rig.service.state_name == "broken"
    assert "not in guest memory" in rig.service.broken_reason
    assert await vm.vring_base(INFLATE) == 1


# The host gets its memory back.


async def test_inflating_gives_the_frames_back_to_the_host(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    guest.touch_own_memory()
    guest.touch(first, 1024)
    before = guest.resident_bytes()

    await guest.queues[INFLATE].served(pfns(range(first, first + 256)))
    assert guest.resident_bytes() == before - 256 * FRAME_BYTES
    assert rig.service.releasing.reclaimed_bytes == 256 * FRAME_BYTES
    assert rig.service.memory.resident_bytes() == guest.resident_bytes()

    # What nobody had touched frees nothing.
    await guest.queues[INFLATE].served(pfns(range(first + 1024, first + 1100)))
    assert rig.service.releasing.reclaimed_bytes == 256 * FRAME_BYTES

    await guest.queues[DEFLATE].served(pfns(range(first, first + 256)))
    assert rig.service.releasing.reclaimed_bytes == 256 * FRAME_BYTES
    guest.touch(first, 256)
    await guest.queues[INFLATE].served(pfns(range(first, first + 256)))
    assert rig.service.releasing.reclaimed_bytes == 512 * FRAME_BYTES


async def test_only_the_frames_that_were_named_are_given_back(rig) -> None:
    vm = await started(rig, INFLATE, DEFLATE)
    guest, first = vm.guest, vm.guest.first_free_pfn()
    offset = first * FRAME_BYTES
    guest.ram.write(offset, b"\xff" * 4 * FRAME_BYTES)
    await guest.queues[INFLATE].served(pfns([first + 1, first + 2]))
    assert bytes(guest.ram.view(offset, 4 * FRAME_BYTES)) == (
        b"\xff" * FRAME_BYTES + bytes(2 * FRAME_BYTES) + b"\xff" * FRAME_BYTES
    )


async def test_frames_of_a_region_are_punched_where_they_lie_in_its_file(rig) -> None:
    regions = [
        MemoryRegionDescription(0, 8 * MIB, USER_BASE, 0),
        MemoryRegionDescription(1 << 32, 4 * MIB, USER_BASE + 8 * MIB, 8 * MIB),
    ]
    vm = await started(rig, guest=rig.guest(INFLATE, regions=regions))
    vm.guest.ram.write(8 * MIB, b"\xff" * 2 * FRAME_BYTES)
    await vm.guest.queues[INFLATE].served(pfns([(1 << 32) // FRAME_BYTES + 1]))
    assert bytes(vm.guest.ram.view(8 * MIB, 2 * FRAME_BYTES)) == b"\xff" * FRAME_BYTES + bytes(FRAME_BYTES)


async def test_nothing_is_given_back_where_that_is_switched_off() -> None:
    async with backend_rig(discard=False) as rig:
        vm = await started(rig, INFLATE, DEFLATE)
        first = vm.guest.first_free_pfn()
        vm.guest.touch(first, 16)
        before = vm.guest.resident_bytes()
        await vm.guest.queues[INFLATE].served(pfns(range(first, first + 16)))
        assert vm.guest.resident_bytes() == before
        assert rig.service.releasing.reclaimed_bytes == 0
        assert held(rig) == [(first, 16)]


# Whatever a front-end sends.


words = st.sampled_from([0, 1, 2, 4, 5, 128, 256, 4096, 1 << 16, 16 * MIB, 1 << 32, 1 << 44, 1 << 63, USER_BASE])
payloads = st.one_of(
    st.binary(max_size=80),
    st.lists(words, max_size=9).map(lambda numbers: b"".join(number.to_bytes(8, "little") for number in numbers)),
    st.tuples(st.integers(0, 6), words.map(lambda word: word & 0xFFFFFFFF)).map(lambda pair: vring_state(*pair)),
)
messages = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(sorted(RULES)), st.integers(0, 50)),
        payloads,
        st.lists(st.sampled_from(["memory", "event"]), max_size=3),
    ),
    max_size=12,
)


@examples(60)
@given(messages, st.booleans())
def test_whatever_is_sent_the_connection_stays_and_every_wait_is_answered(sent, runs: bool) -> None:
    async def chart() -> None:
        async with backend_rig() as rig:
            before = open_descriptors()
            vm = rig.connect(rig.guest(INFLATE, DEFLATE))
            await qemu_connect(vm)
            if runs:
                await qemu_start(vm, RING_FEATURES)
            for request, payload, kinds in sent:
                fds = [vm.guest.ram.fd if kind == "memory" else event_of(vm) for kind in kinds]
                # REPLY_ACK is never given up here, so everything is answered, once.
                if request == Request.SET_PROTOCOL_FEATURES:
                    continue
                vm.send(request, payload, fds, need_reply=True)
                assert (await vm.reply()).request == request
            await vm.caught_up()
            await rig.disconnect(vm)
            vm.guest.close()
            rig._guests.clear()
            assert open_descriptors() == before

    asyncio.run(chart())


async def test_a_message_is_answered_with_the_version_and_reply_flags_only(rig) -> None:
    vm = rig.connect()
    vm.send_bytes(MESSAGE_HEADER.pack(MessageHeader(Request.GET_FEATURES, 0x9, 0)))
    reply = await vm.reply()
    assert (reply.request, reply.flags, len(reply.payload)) == (Request.GET_FEATURES, 0x5, 8)
