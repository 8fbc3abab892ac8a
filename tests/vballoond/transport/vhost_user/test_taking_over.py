"""A process goes on with the connection of one that was killed."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.backend_rig import open_descriptors, settled
from support.fake_front_end import (
    DONE,
    MIB,
    REFUSED,
    RING_FEATURES,
    USER_BASE,
    FakeFrontEnd,
    config_piece,
    pfns,
    qemu_start,
    qemu_stop,
    single_region,
    u64,
    uml_connect,
    uml_probe,
    uml_remove,
    vring_state,
)
from support.lives import Life, Lives, lives
from support.properties import examples

from protocol.balloon.features import BalloonFeature
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.payloads import MemoryRegionDescription
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature
from vballoond.balloon.hinting import HintingStage
from vballoond.state.guest_file import GuestFile
from vballoond.state.sealed_file import map_sealed
from vballoond.transport.vhost_user.keeping import CONNECTION, REPLY, STATE

INFLATE, DEFLATE, STATS, FREE_PAGE = range(4)
STATISTICS = STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, 12345))
FIXTURES = {f"vm1/1/{name}" for name in (STATE, CONNECTION, REPLY)}


@pytest.fixture(params=["split", "packed"])
async def both(request) -> AsyncIterator[Lives]:
    async with lives(ring=request.param) as made:
        yield made


@pytest.fixture
async def one() -> AsyncIterator[Lives]:
    async with lives() as made:
        yield made


def drained(fd: int) -> int:
    """How often an eventfd was rung; it is not any more."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def nothing_waits(vm: FakeFrontEnd) -> bool:
    """Say whether the front-end has read all that it was sent."""
    try:
        return not vm._socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True


def memory_of(made: Lives, vm: FakeFrontEnd) -> list[str]:
    """By which names the holder has the guest's memory."""
    files = made.holder.files
    return [name for name, fd in files.items() if os.path.samestat(os.fstat(fd), os.fstat(vm.guest.ram.fd))]


def files_of(made: Lives, kind: str) -> list[str]:
    """By which names the holder has memory files of a kind."""
    links = {name: Path(f"/proc/self/fd/{fd}").readlink() for name, fd in made.holder.files.items()}
    return [name for name, link in links.items() if str(link).startswith(f"/memfd:{kind}")]


def descriptors_of(file: os.stat_result) -> int:
    """How many descriptors of a file this process has; a mapping has one."""
    return sum(link.exists() and os.path.samestat(link.stat(), file) for link in Path("/proc/self/fd").iterdir())


# What was, is.


async def test_rings_map_and_sizes_go_on(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    vm.guest.touch(first, 256)
    await vm.guest.queues[INFLATE].served(pfns(range(first, first + 200)))
    await vm.guest.queues[DEFLATE].served(pfns(range(first + 50, first + 60)))
    await vm.tell(Request.SET_CONFIG, config_piece(4, (190).to_bytes(4, "little")))
    both.service.set_target(300)
    await vm.caught_up()
    was = (both.held(), both.service.actual_frames, both.service.target_frames, both.service.releasing.reclaimed_bytes)
    assert was == ([(first, 50), (first + 60, 140)], 190, 300, 200 * 4096)

    for life in range(3):
        await both.killed()
        found = (both.held(), both.service.actual_frames, both.service.target_frames)
        assert (*found, both.service.releasing.reclaimed_bytes) == was
        assert both.service.state_name == "running"
        assert both.service.memory.size_bytes == 16 * MIB
        await vm.guest.queues[INFLATE].served(pfns([first + 210 + life]))
        await vm.guest.queues[DEFLATE].served(pfns([first + 210 + life]))
        was = (*was[:3], both.service.releasing.reclaimed_bytes)
    assert both.service.releasing.reclaimed_bytes == 203 * 4096
    assert vm.config_change_waits()
    assert int.from_bytes(await vm.config(0, 4), "little") == 300


async def test_what_the_driver_asks_while_nobody_is_there_is_served(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    queue = vm.guest.queues[INFLATE]
    heads: list[int] = []
    await both.killed(lambda: heads.extend(queue.request(pfns([first + number])) for number in range(10)))
    assert [await queue.used() for _ in range(10)] == heads
    assert both.held() == [(first, 10)]


async def test_a_resize_that_was_under_way_is_under_way(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    both.service.set_target(10)
    await both.killed()
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns(range(first, first + 10)))
    await vm.tell(Request.SET_CONFIG, config_piece(4, (10).to_bytes(4, "little")))
    await vm.caught_up()
    assert both.service.resizing.current.done


@examples(15)
@given(ring=st.sampled_from(["split", "packed"]), data=st.data())
def test_whenever_it_is_killed_every_buffer_comes_back_once_and_the_map_is_what_was_asked(ring, data) -> None:
    async def run() -> None:
        async with lives(ring=ring) as made:
            vm = await made.started(INFLATE, DEFLATE)
            first = vm.guest.first_free_pfn()
            held: set[int] = set()
            for _ in range(data.draw(st.integers(1, 8))):
                index, frame = data.draw(st.sampled_from([INFLATE, DEFLATE])), data.draw(st.integers(0, 30))
                head = vm.guest.queues[index].request(pfns([first + frame]))
                for _ in range(data.draw(st.integers(0, 6))):
                    await asyncio.sleep(0)
                if data.draw(st.booleans()):
                    await made.killed()
                assert await vm.guest.queues[index].used() == head
                held = held | {frame} if index == INFLATE else held - {frame}
            assert made.service.device.frame_map.held_frames == len(held)
            assert all(queue.ring.get_used() is None for queue in vm.guest.queues.values())

    asyncio.run(run())


async def test_each_ring_that_runs_is_rung_once(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    calls = [queue.call_fd for queue in vm.guest.queues.values()]
    for fd in calls:
        drained(fd)
    await both.killed()
    assert [drained(fd) for fd in calls] == [1, 1]


async def test_a_config_change_is_announced_again(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    one.service.set_target(5)
    await vm.config_change()
    await one.killed()
    await vm.config_change()
    assert not vm.config_change_waits()


async def test_no_config_change_is_announced_while_the_rings_stand(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    bases = await qemu_stop(vm)
    await one.killed()
    await vm.caught_up()
    assert not vm.config_change_waits()
    assert one.service.state_name == "paused"
    await qemu_start(vm, RING_FEATURES, memory=None, bases=bases)
    await vm.config_change()


async def test_rings_that_stood_go_on_where_they_stopped(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns(range(first, first + 10)))
    for index in vm.guest.queues:
        assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 0)) == DONE
    await both.killed()
    for index in vm.guest.queues:
        assert await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(index, 1)) == DONE
    await vm.guest.queues[INFLATE].served(pfns([first + 10]))
    assert both.held() == [(first, 11)]


async def test_the_position_of_a_ring_is_told_as_it_was(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    for number in range(3):
        await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn() + number]))
    await both.killed()
    base = await vm.vring_base(INFLATE)
    assert base == (0x8003_8003 if both.packed else 3)
    await both.killed()
    assert await vm.vring_base(INFLATE) == base


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_a_statistics_buffer_that_was_held_comes_back_when_due(ring: str) -> None:
    async with lives(ring=ring) as made:
        vm = await made.started(INFLATE, DEFLATE, STATS, features=RING_FEATURES | BalloonFeature.STATS_VQ)
        head = vm.guest.queues[STATS].request(STATISTICS)
        await settled(made.service)
        await made.killed()
        await settled(made.service)
        assert made.service.device.state.held_statistics_head == head
        assert made.service.device.state.statistics.values == {StatisticTag.FREE_MEMORY: 12345}
        assert vm.guest.queues[STATS].ring.get_used() is None
        made.service._statistics_due()
        assert await vm.guest.queues[STATS].used() == head


async def test_a_hinting_round_goes_on() -> None:
    features = RING_FEATURES | BalloonFeature.FREE_PAGE_HINT | BalloonFeature.STATS_VQ
    async with lives(features=["stats", "free-page-hint"]) as made:
        vm = await made.started(INFLATE, DEFLATE, STATS, FREE_PAGE, features=features)
        made.service.start_hinting(acknowledge_on_stop=False)
        await vm.guest.queues[FREE_PAGE].served((2).to_bytes(4, "little"))
        was = made.service.device.state.hinting
        assert was.stage is HintingStage.RUNNING
        await made.killed()
        assert made.service.device.state.hinting == was
        assert await vm.config(8, 4) == (2).to_bytes(4, "little")
        await vm.guest.queues[FREE_PAGE].served((0).to_bytes(4, "little"))
        assert made.service.device.state.hinting.stage is HintingStage.ENDED
        await made.killed()
        made.service.stop_hinting()
        assert await vm.config(8, 4) == (1).to_bytes(4, "little")
        made.service.start_hinting(acknowledge_on_stop=True)
        assert await vm.config(8, 4) == (3).to_bytes(4, "little")


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_what_is_broken_stays_broken_for_its_reason_and_is_mended_by_a_new_driver(ring: str) -> None:
    hinting = RING_FEATURES | BalloonFeature.FREE_PAGE_HINT | BalloonFeature.STATS_VQ
    async with lives(ring=ring, features=["stats", "free-page-hint"]) as made:
        vm = await made.started(*range(4), features=hinting)
        vm.guest.queues[FREE_PAGE].request(b"odd")
        await settled(made.service)
        for _ in range(2):
            await made.killed()
            assert made.service.state_name == "broken"
            assert made.service.broken_reason == "free_page_vq: a free page hint command of 3 bytes, where an ID has 4"
        await qemu_stop(vm)
        for index in range(4):
            vm.guest.add_queue(index, packed=made.packed)
        await qemu_start(vm, hinting | (RingFeature.RING_PACKED if made.packed else 0), memory=None)
        await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
        assert made.service.state_name == "running"
        await made.killed()
        assert made.service.state_name == "running"


async def test_a_connection_on_which_nothing_was_said_goes_on(one: Lives) -> None:
    vm = one.connect(one.guest(INFLATE, DEFLATE))
    await settled(one.service)
    await one.killed()
    assert one.service.state_name == "waiting"
    await uml_connect(vm)
    await uml_probe(vm, RING_FEATURES | (1 << 30))
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))


# What is with the holder.


async def test_the_memory_of_regions_in_one_file_is_with_the_holder_once(one: Lives) -> None:
    half = 8 * MIB
    regions = [
        MemoryRegionDescription(0, half, USER_BASE, 0),
        MemoryRegionDescription(1 << 30, half, USER_BASE + half, half),
    ]
    vm = await one.started(INFLATE, DEFLATE, regions=regions)
    first = (1 << 30) // 4096
    await vm.guest.queues[INFLATE].served(pfns(range(first, first + 7)))
    assert len(memory_of(one, vm)) == 1
    await one.killed()
    assert len(one.service.memory.regions) == 2
    assert one.held() == [(first, 7)]
    await vm.guest.queues[DEFLATE].served(pfns([first]))
    assert one.held() == [(first + 1, 6)]
    assert await vm.acknowledged(Request.REM_MEM_REG, single_region(regions[1])) == DONE
    assert len(memory_of(one, vm)) == 1
    await one.killed()
    assert len(one.service.memory.regions) == 1
    assert one.service.state_name == "running"


async def test_what_no_state_names_is_removed_and_closed(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    await one.killed()
    await vm.caught_up()
    before, names = open_descriptors(), one.holder.names
    leftover = os.eventfd(0)
    await one.holder.store({"vm1/1/999": leftover})
    os.close(leftover)
    await one.killed()
    await vm.caught_up()
    assert one.holder.names == names
    assert open_descriptors() == before


async def test_no_descriptor_is_lost_from_life_to_life(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    await vm.caught_up()
    before, names = open_descriptors(), both.holder.names
    for _ in range(3):
        await both.killed()
        await vm.caught_up()
        assert both.holder.names == names
        assert open_descriptors() == before


async def test_when_the_front_end_goes_the_holder_has_nothing_of_it_any_more(both: Lives) -> None:
    before = open_descriptors()
    vm = await both.started(INFLATE, DEFLATE)
    await both.killed()
    vm.close()
    await both.life.end()
    assert both.holder.names == []
    vm.guest.close()
    both._guests.clear()
    assert open_descriptors() == before
    both._front_ends.clear()


async def test_a_front_end_that_went_while_nobody_was_there_is_gone(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    await both.killed(vm.close)
    await both.life.end()
    assert both.holder.names == []
    assert both.service.state_name == "waiting"


# Requests.

INSTANTS = ["nothing done", "before staging", "staged", "consumed", "sent"]


async def stopped_at(life: Life, instant: str) -> asyncio.Event:
    channel = life.backend._channel
    match instant:
        case "nothing done":
            return await life.hang(life.backend, "_handle")
        case "before staging":
            return await life.hang(channel, "answer")
        case "staged":
            return await life.hang(channel, "consume")
        case "consumed":
            return await life.hang(channel, "_send")
    return await life.hang(channel, "answer", behind=True)


@pytest.mark.parametrize("instant", INSTANTS)
async def test_a_question_is_answered_once_whenever_it_is_killed(both: Lives, instant: str) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    for _ in range(2):
        reached = await stopped_at(both.life, instant)
        vm.send(Request.GET_QUEUE_NUM)
        await both.killed_when(reached)
        assert await vm.reply_to(Request.GET_QUEUE_NUM) == u64(5)
        await settled(both.service)
        assert nothing_waits(vm)
        assert await vm.number(Request.GET_MAX_MEM_SLOTS) == 128
        assert nothing_waits(vm)


@pytest.mark.parametrize("instant", INSTANTS)
async def test_stopping_a_ring_is_answered_once_with_its_position(both: Lives, instant: str) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
    reached = await stopped_at(both.life, instant)
    vm.send(Request.GET_VRING_BASE, vring_state(INFLATE))
    await both.killed_when(reached)
    base = 0x8001_8001 if both.packed else 1
    assert await vm.reply_to(Request.GET_VRING_BASE) == vring_state(INFLATE, base)
    assert both.service.running_queues == (DEFLATE,)
    assert await vm.vring_base(INFLATE) == base
    assert nothing_waits(vm)


HOT_PLUGGED = MemoryRegionDescription(1 << 30, 8 * MIB, USER_BASE + (1 << 30), 8 * MIB)


async def asked(made: Lives, vm: FakeFrontEnd, request: Request, instant: str) -> int:
    """Have a message killed at an instant; return what is acknowledged, once."""
    reached = await stopped_at(made.life, instant)
    fds = [vm.guest.fd_of(HOT_PLUGGED)] if request == Request.ADD_MEM_REG else []
    vm.send(request, single_region(HOT_PLUGGED), fds, need_reply=True)
    await made.killed_when(reached)
    acknowledgement = int.from_bytes(await vm.reply_to(request), "little")
    await settled(made.service)
    assert nothing_waits(vm)
    return acknowledgement


@pytest.mark.parametrize("instant", INSTANTS)
async def test_memory_is_added_and_removed_once_and_acknowledged_whenever_it_is_killed(
    both: Lives, instant: str
) -> None:
    vm = await both.started(INFLATE, DEFLATE, memory=Request.ADD_MEM_REG)
    for _ in range(2):
        assert await asked(both, vm, Request.ADD_MEM_REG, instant) == DONE
        assert both.service.memory.size_bytes == 24 * MIB
        await vm.guest.queues[INFLATE].served(pfns([HOT_PLUGGED.guest_address // 4096]))
        assert await asked(both, vm, Request.REM_MEM_REG, instant) == DONE
        assert both.service.memory.size_bytes == 16 * MIB
        assert await vm.acknowledged(Request.SET_OWNER) == DONE


async def test_what_was_refused_is_refused_after_a_kill_and_what_is_asked_twice_too(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE, memory=Request.ADD_MEM_REG)
    assert await asked(one, vm, Request.REM_MEM_REG, "before staging") == REFUSED
    assert await asked(one, vm, Request.ADD_MEM_REG, "sent") == DONE
    assert await vm.acknowledged(Request.SET_OWNER) == DONE
    fds = [vm.guest.fd_of(HOT_PLUGGED)]
    assert await vm.acknowledged(Request.ADD_MEM_REG, single_region(HOT_PLUGGED), fds) == REFUSED


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
async def test_a_change_is_made_once_whichever_side_of_storing_it_is_killed(both: Lives, behind: bool) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    names = len(both.holder.names)
    reached = await both.life.hang(both.holder, "store", behind=behind)
    vm.send(Request.ADD_MEM_REG, single_region(HOT_PLUGGED), [vm.guest.fd_of(HOT_PLUGGED)], need_reply=True)
    await both.killed_when(reached)
    assert await vm.reply_to(Request.ADD_MEM_REG) == u64(DONE)
    await settled(both.service)
    assert both.service.memory.size_bytes == 24 * MIB
    # The region's file is that of the other; the frame map is another.
    assert len(both.holder.names) == names
    assert nothing_waits(vm)


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
async def test_a_connection_that_was_not_stored_whole_goes_on_or_was_never_answered(one: Lives, behind: bool) -> None:
    reached = await one.life.hang(one.holder, "store", behind=behind)
    vm = one.connect(one.guest(INFLATE, DEFLATE))
    if not behind:
        await reached.wait()
        holder = await one.life.kill()
        assert holder.names == []
        assert vm._socket.recv(1) == b""
        one._front_ends.clear()
        vm.close()
        return
    await one.killed_when(reached)
    await vm.caught_up()
    assert one.service.state_name == "waiting"


def killed_at(made: Lives, number: int, instant: str) -> "asyncio.Task[None]":
    """Have it killed at an instant of serving the message of this number, counted from now."""
    backend, serve, seen = made.life.backend, made.life.backend._serve, 0
    armed: asyncio.Future[asyncio.Event] = asyncio.get_running_loop().create_future()

    async def counting(message) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            armed.set_result(await stopped_at(made.life, instant))
        await serve(message)

    async def kill() -> None:
        await made.killed_when(await armed)

    backend._serve = counting
    return asyncio.create_task(kill())


async def uml_runs(made: Lives, vm: FakeFrontEnd) -> None:
    """All of a life of user-mode Linux's driver; it waits for the answer to every message."""
    await uml_connect(vm)
    features = RING_FEATURES | F_PROTOCOL_FEATURES | (RingFeature.RING_PACKED if made.packed else 0)
    await uml_probe(vm, features)
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first, first + 1]))
    await vm.guest.queues[DEFLATE].served(pfns([first]))
    assert made.held() == [(first + 1, 1)]
    await uml_remove(vm)


UML_MESSAGES = range(2, 24)  # all but the first, SET_OWNER, are answered


@pytest.mark.parametrize("instant", INSTANTS)
@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_user_mode_linux_does_not_notice_at_which_of_its_messages_it_is_killed(ring: str, instant: str) -> None:
    for number in UML_MESSAGES:
        async with lives(ring=ring) as made:
            vm = made.connect(made.guest(INFLATE, DEFLATE))
            killing = killed_at(made, number, instant)
            async with asyncio.timeout(30):
                await uml_runs(made, vm)
                await killing
            assert nothing_waits(vm)
            assert set(files_of(made, "vballoond-guest")) == {"vm1/1/state"}


# What cannot be used.


async def set_aside(made: Lives, meanwhile) -> str:
    """Kill it; return why what it kept cannot be used, as the log and the balloon say."""
    with capture_logs() as logs:
        await made.killed(meanwhile)
    (event,) = [log for log in logs if log["log_level"] == "error"]
    assert event["event"] == "kept state set aside"
    assert made.service.state_name == "broken"
    assert event["reason"] in made.service.broken_reason
    return event["reason"]


async def test_a_missing_descriptor_is_set_aside_and_the_connection_is_answered(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    (memory,) = memory_of(both, vm)
    before = open_descriptors()
    reason = await set_aside(both, lambda: both.first_holder.lose(memory))
    assert "descriptor 'memory-" in reason
    await vm.caught_up()
    assert set(both.holder.names) == FIXTURES
    assert open_descriptors() < before


async def test_a_damaged_state_is_set_aside_and_the_connection_is_answered(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    (state,) = files_of(both, "vballoond-guest")

    def damage() -> None:
        memory = map_sealed(both.first_holder.files[state])
        memory[4096:] = bytes(len(memory) - 4096)

    reason = await set_aside(both, damage)
    assert "damaged" in reason
    await vm.caught_up()
    assert set(both.holder.names) == FIXTURES


async def test_a_state_that_is_gone_is_set_aside_and_the_connection_is_answered(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    (state,) = files_of(both, "vballoond-guest")
    await set_aside(both, lambda: both.first_holder.lose(state))
    await vm.caught_up()
    assert set(both.holder.names) == FIXTURES


async def test_memory_that_shrank_is_set_aside_and_the_connection_is_answered(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    reason = await set_aside(both, lambda: os.ftruncate(vm.guest.ram.fd, 4 * MIB))
    assert f"memory file has {4 * MIB} bytes" in reason
    await vm.caught_up()


async def test_a_balloon_whose_state_was_set_aside_serves_the_next_driver(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    (state,) = files_of(both, "vballoond-guest")
    await set_aside(both, lambda: both.first_holder.lose(state))
    vm.send(Request.SET_PROTOCOL_FEATURES, u64(await vm.number(Request.GET_PROTOCOL_FEATURES)))
    for index in (INFLATE, DEFLATE):
        vm.guest.add_queue(index, packed=both.packed)
    await qemu_start(vm, RING_FEATURES | (RingFeature.RING_PACKED if both.packed else 0), memory=Request.SET_MEM_TABLE)
    await vm.guest.queues[INFLATE].served(pfns([vm.guest.first_free_pfn()]))
    assert both.service.state_name == "running"
    await both.killed()
    assert both.service.state_name == "running"
    await vm.guest.queues[DEFLATE].served(pfns([vm.guest.first_free_pfn()]))


async def test_a_damaged_frame_map_is_set_aside_and_the_balloon_goes_on(both: Lives) -> None:
    vm = await both.started(INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    await vm.guest.queues[INFLATE].served(pfns([first]))
    (frames,) = files_of(both, "vballoond-frames")
    damaged = os.fstat(both.first_holder.files[frames])

    def damage() -> None:
        memory = map_sealed(both.first_holder.files[frames])
        memory[(1 << 14) + 77] = 9

    with capture_logs() as logs:
        await both.killed(damage)
    (event,) = [log for log in logs if log["log_level"] == "error"]
    assert event["event"] == "frame map set aside: no frame is known to be held"
    assert "of frame 0x4d" in event["reason"]
    assert both.service.state_name == "running"
    assert both.held() == []
    await vm.guest.queues[INFLATE].served(pfns([first + 1]))
    assert both.held() == [(first + 1, 1)]
    assert descriptors_of(damaged) == 0


# What was left is damaged, and what follows.


def frames_file_of(made: Lives) -> int:
    return next(
        fd
        for fd in made.first_holder.files.values()
        if Path(f"/proc/self/fd/{fd}").readlink().name.startswith("memfd:vballoond-frames")
    )


def state_file_of(made: Lives) -> GuestFile:
    return GuestFile(next(fd for name, fd in made.first_holder.files.items() if name.endswith(f"/{STATE}")))


async def test_whoever_waits_for_an_acknowledgement_gets_it_also_when_the_state_is_lost(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    await one.killed(lambda: os.ftruncate(vm.guest.ram.fd, 4 * MIB))
    assert one.service.state_name == "broken"
    await vm.acknowledged(Request.SET_VRING_ENABLE, vring_state(0, 0))


async def test_a_frame_map_that_was_made_anew_outlives_the_next_death(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    first = vm.guest.first_free_pfn()
    frames = frames_file_of(one)

    def damage() -> None:
        map_sealed(frames)[(1 << 14) + 77] = 9

    await one.killed(damage)
    await vm.guest.queues[INFLATE].served(pfns([first]))
    await one.killed()
    assert one.held() == [(first, 1)]


async def test_a_ring_that_cannot_go_on_can_be_set_up_anew() -> None:
    async with lives(ring="packed") as made:
        vm = await made.started(INFLATE, DEFLATE)
        await made.killed(lambda: state_file_of(made).live.ring(INFLATE).published(0x7FFF7FFF))
        assert made.service.state_name == "broken"
        for index in (INFLATE, DEFLATE):
            vm.guest.add_queue(index, packed=True)
        await qemu_stop(vm)
        for index in (INFLATE, DEFLATE):
            vm.guest.add_queue(index, packed=True)
        await qemu_start(vm, RING_FEATURES | RingFeature.RING_PACKED, memory=None)
        await settled(made.service)
        assert made.service.state_name == "running"


async def test_a_packed_ring_that_had_not_started_stands_where_the_front_end_said() -> None:
    async with lives(ring="packed") as made:
        await made.started(INFLATE, DEFLATE)
        file = state_file_of(made)
        content = file.read()
        for index in (INFLATE, DEFLATE):
            state = {"base": 0x80058005, "used_idx": None, "publishing": 0}
            content["session"]["vrings"][index] |= {"renewed": True, "state": state}

        def not_started() -> None:
            file.write(content)
            for index in (INFLATE, DEFLATE):
                file.live.ring(index).published(0)

        await made.killed(not_started)
        assert made.life.backend.session.vrings[INFLATE].state.base == 0x80058005


async def test_a_kick_that_is_no_doorbell_does_not_end_the_connection(one: Lives) -> None:
    vm = await one.started(INFLATE, DEFLATE)
    name = state_file_of(one).read()["names"]["kick-0"]
    stranger = os.memfd_create("stranger")
    await one.killed(lambda: one.first_holder.replace(name, stranger))
    os.close(stranger)
    await vm.caught_up()
    assert one.service.state_name == "broken"
