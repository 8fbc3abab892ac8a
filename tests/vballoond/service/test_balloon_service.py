import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.backend_rig import running_service, settled, vhost_user_settings
from support.fact_log import FactLog
from support.fake_front_end import MIB, pfns
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES, STATS, WITH_STATS, Driver, driven, held

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond.balloon.facts import ConfigWritten, Fact, Request, StatisticsDue
from vballoond.clock import Clock
from vballoond.memory.guest_memory import GuestMemory
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.service.serving import TURN_CHAINS, TURN_S

MEMORY_FRAMES = MEMORY_BYTES // FRAME_BYTES


@pytest.fixture
async def pair() -> AsyncIterator[tuple[BalloonService, Driver]]:
    async with driven(facts=FactLog()) as pair:
        yield pair


@pytest.fixture
async def alone() -> AsyncIterator[BalloonService]:
    """A balloon without a front-end, of a guest whose memory nobody knows."""
    async with running_service(vhost_user_settings()) as service:
        yield service


class GatedOffload(Offload):
    """Counts what is run outside of the loop, and holds it up while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        await self.gate.wait()
        return await super().run(call, *args, **kwargs)


def statistics(free_bytes: int) -> bytes:
    return STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, free_bytes))


def free_memory(service: BalloonService) -> int | None:
    known = service.device.state.statistics
    return None if known is None else known.values[StatisticTag.FREE_MEMORY]


# Limits and targets.


async def test_the_limit_is_what_can_be_counted_while_nothing_is_known(alone) -> None:
    assert alone.limit_bytes() == ((1 << 32) - 1) * FRAME_BYTES


async def test_the_limit_is_the_configured_memory_while_none_is_known() -> None:
    async with running_service(vhost_user_settings(memory="64MiB")) as service:
        assert service.limit_bytes() == 64 * MIB


async def test_the_limit_is_the_memory_once_it_is_known(pair) -> None:
    service, _ = pair
    assert service.limit_bytes() == MEMORY_BYTES


@pytest.mark.parametrize(("configured", "limit"), [("4MiB", 4 * MIB), ("16MiB", 16 * MIB), ("1GiB", 16 * MIB)])
async def test_the_limit_is_never_above_the_configured_one(configured: str, limit: int) -> None:
    async with driven(max=configured) as (service, _):
        assert service.limit_bytes() == limit


async def test_a_configured_limit_holds_before_memory_is_known() -> None:
    async with running_service(vhost_user_settings(memory="64MiB", max="8MiB")) as service:
        assert service.limit_bytes() == 8 * MIB


async def test_the_limit_falls_back_when_the_memory_goes() -> None:
    async with driven(memory="32MiB") as (service, driver):
        assert service.limit_bytes() == MEMORY_BYTES
        await driver.device.close(lambda: None)
        assert service.limit_bytes() == 32 * MIB


async def test_a_target_is_remembered_while_nobody_is_there(alone) -> None:
    number = alone.set_target(1000)
    assert alone.target_frames == 1000
    assert alone.state_name == "waiting"
    assert not alone.resizing.current.done

    driver = Driver(alone)
    assert alone.target_frames == 1000
    assert driver.device.read_config(0, 4) == (1000).to_bytes(4, "little")
    assert alone.resizing.current.id == number
    await driver.device.close(driver.region.close)
    driver.guest.close()
    assert alone.target_frames == 1000


async def test_a_target_beyond_the_memory_that_came_is_cut_to_it_and_said_so(alone) -> None:
    number = alone.set_target(MEMORY_FRAMES + 1)
    with capture_logs() as logs:
        driver = Driver(alone)
        driver.load(INFLATE, DEFLATE)
    assert alone.target_frames == MEMORY_FRAMES
    assert alone.resizing.current.id > number
    assert alone.resizing.current.target_frames == MEMORY_FRAMES
    clamped = [line for line in logs if line["event"] == "target clamped"]
    assert len(clamped) == 1
    assert clamped[0]["limit_bytes"] == MEMORY_BYTES
    await driver.device.close(driver.region.close)
    driver.guest.close()


async def test_a_target_of_all_memory_is_left_as_it_is(alone) -> None:
    number = alone.set_target(MEMORY_FRAMES)
    driver = Driver(alone)
    driver.load(INFLATE, DEFLATE)
    assert alone.target_frames == MEMORY_FRAMES
    assert alone.resizing.current.id == number
    await driver.device.close(driver.region.close)
    driver.guest.close()


async def test_a_new_target_is_told_to_the_driver_once(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    service.set_target(100)
    service.set_target(100)
    assert driver.config_interrupts == 1
    service.set_target(101)
    assert driver.config_interrupts == 2


async def test_a_target_that_is_reached_already_is_done_at_once(pair) -> None:
    service, _ = pair
    service.set_target(0)
    assert service.resizing.current.done


# Reaching them.


async def test_a_resize_is_done_when_the_guest_did_and_said_it(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    number = service.set_target(10)
    waiting = asyncio.create_task(service.resizing.wait(number, 600))

    driver.request(INFLATE, pfns(range(first, first + 10)))
    await asyncio.sleep(1)
    assert held(service) == [(first, 10)]
    assert not waiting.done()
    with capture_logs() as logs:
        driver.write_actual(10)
    assert await waiting
    assert service.resizing.current.done
    assert [line["target_bytes"] for line in logs if line["event"] == "resize done"] == [10 * FRAME_BYTES]


async def test_a_resize_is_done_when_the_guest_said_and_did_it(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    number = service.set_target(1)
    waiting = asyncio.create_task(service.resizing.wait(number, 600))
    driver.write_actual(1)
    await asyncio.sleep(1)
    assert not waiting.done()
    driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
    assert await waiting


async def test_a_resize_downwards_is_done_when_the_guest_took_its_memory_back(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    service.set_target(2)
    driver.request(INFLATE, pfns([first, first + 1]))
    driver.write_actual(2)
    await settled(service)
    number = service.set_target(0)
    driver.request(DEFLATE, pfns([first, first + 1]))
    driver.write_actual(0)
    assert await service.resizing.wait(number, 600)
    assert service.resizing.current.done
    assert held(service) == []


async def test_a_newer_target_supersedes_the_one_before(pair) -> None:
    service, _ = pair
    number = service.set_target(10)
    waiting = asyncio.create_task(service.resizing.wait(number, 600))
    await asyncio.sleep(10)
    newer = service.set_target(20)
    assert await waiting
    assert service.resizing.current.id == newer != number
    assert not service.resizing.current.done


# States.


async def test_a_balloon_waits_runs_pauses_and_waits_again(pair) -> None:
    service, driver = pair
    assert service.state_name == "waiting"
    driver.load(INFLATE, DEFLATE)
    assert service.state_name == "running"
    driver.device.reset()
    await settled(service)
    assert service.state_name == "paused"
    driver.load(INFLATE, DEFLATE)
    assert service.state_name == "running"
    await driver.device.close(lambda: None)
    assert service.state_name == "waiting"


async def test_a_paused_balloon_keeps_what_it_holds_and_one_without_a_front_end_does_not(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.request(INFLATE, pfns([first]))
    await settled(service)
    driver.device.reset()
    await settled(service)
    assert held(service) == [(first, 1)]
    await driver.device.close(lambda: None)
    assert held(service) == []
    assert service.device.counters.inflated_frames == 1


async def test_a_broken_balloon_serves_no_queue_until_it_is_set_up_anew(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    driver.guest.queues[INFLATE].ring._avail[1] = 0x4000
    driver.device.kick(INFLATE)
    await settled(service)
    assert service.state_name == "broken"
    assert service.broken_reason == "inflateq: the available index is 16384 ahead in a queue of 128"

    first = driver.guest.first_free_pfn()
    driver.request(DEFLATE, pfns([first]))
    driver.device.kick(INFLATE)
    await settled(service)
    assert driver.used(DEFLATE) is None
    assert service.device.counters.guest_errors == 1

    driver.device.reset()
    await settled(service)
    assert service.state_name == "broken"
    driver.load(INFLATE, DEFLATE)
    assert service.state_name == "running"
    assert service.broken_reason is None


# Serving.


async def test_a_busy_queue_does_not_keep_the_others_waiting() -> None:
    facts = FactLog()
    async with driven(facts=facts) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        for number in range(100):
            driver.request(INFLATE, pfns([first + number]))
        driver.request(DEFLATE, pfns([first]))
        await settled(service)
        roles = [fact.role for fact in facts.of(Request)]
        assert TURN_CHAINS == 64
        assert roles == [QueueRole.INFLATE] * 64 + [QueueRole.DEFLATE] + [QueueRole.INFLATE] * 36
        assert held(service) == [(first + 1, 99)]


async def test_a_turn_that_took_long_ends_behind_its_buffer() -> None:
    facts, now_s = FactLog(), itertools.count(step=TURN_S)
    async with driven(facts=facts, clock=Clock(lambda: next(now_s))) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        for number in range(4):
            driver.request(INFLATE, pfns([first + number]))
            driver.request(DEFLATE, pfns([first + number]))
        await settled(service)
        roles = [fact.role for fact in facts.of(Request)]
        assert roles == [QueueRole.INFLATE, QueueRole.DEFLATE] * 4


async def test_a_defect_of_the_daemon_breaks_the_balloon_and_is_logged() -> None:
    def defect(fact: Fact) -> None:
        if isinstance(fact, Request):
            raise ZeroDivisionError("of all things")

    async with driven(facts=defect) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        with capture_logs() as logs:
            driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
            await settled(service)
        assert service.state_name == "broken"
        assert service.broken_reason == "inflateq: a defect of the daemon; its log has the details"
        failed = [line for line in logs if line["event"] == "request failed"]
        assert [(line["log_level"], line["exc_info"]) for line in failed] == [("error", True)]
        # The buffer is the ring's again: nothing was done about it.
        assert service.stop_queue(INFLATE).base == 0


async def test_every_buffer_comes_back_and_in_order(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    heads = [driver.request(INFLATE, pfns([first + number])) for number in range(128)]
    await settled(service)
    assert [driver.used(INFLATE) for _ in heads] == heads
    assert driver.used(INFLATE) is None


async def test_a_spurious_kick_is_harmless(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    for _ in range(3):
        driver.device.kick(INFLATE)
        service.kick(77)
        await settled(service)
    assert service.state_name == "running"
    assert service.device.counters.inflate_requests == 0


@pytest.mark.parametrize(
    ("frames", "calls"),
    [
        (range(256), 0),
        (range(0, 128, 2), 0),
        (range(0, 130, 2), 1),
    ],
)
async def test_many_holes_are_punched_outside_of_the_loop(frames: range, calls: int) -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        driver.guest.touch(first, 256)
        driver.request(INFLATE, pfns(first + frame for frame in frames))
        await settled(service)
        assert offload.calls == calls
        assert service.releasing.reclaimed_bytes == len(frames) * FRAME_BYTES
        assert driver.used(INFLATE) is not None


async def test_a_buffer_comes_back_only_after_its_frames_were_given_back() -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        driver.guest.touch(first, 256)
        offload.gate.clear()
        head = driver.request(INFLATE, pfns(range(first, first + 200, 2)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert offload.calls == 1
        assert driver.used(INFLATE) is None
        # The balloon can be asked and set meanwhile.
        service.set_target(7)
        assert driver.device.read_config(0, 4) == (7).to_bytes(4, "little")
        offload.gate.set()
        await settled(service)
        assert driver.used(INFLATE) == head
        assert service.releasing.reclaimed_bytes == 100 * FRAME_BYTES


async def test_stopping_finishes_what_is_under_way() -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        offload.gate.clear()
        head = driver.request(INFLATE, pfns(range(first, first + 200, 2)))
        for _ in range(10):
            await asyncio.sleep(0)
        stopping = asyncio.create_task(service.stop())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stopping.done()
        offload.gate.set()
        await stopping
        assert driver.used(INFLATE) == head
        driver.request(INFLATE, pfns([first]))
        await settled(service)
        assert driver.used(INFLATE) is None


async def test_memory_that_cannot_be_given_back_is_told_and_the_driver_goes_on(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.guest.touch(first, 4)
    writable = driver.region.fd
    driver.region.fd = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)
    with capture_logs() as logs:
        heads = [driver.request(INFLATE, pfns([first + number])) for number in range(3)]
        await settled(service)
    assert [driver.used(INFLATE) for _ in heads] == heads
    assert held(service) == [(first, 3)]
    assert service.releasing.reclaimed_bytes == 0
    assert service.device.counters.release_errors == 3
    assert "fallocate(PUNCH_HOLE)" in service.releasing.problem
    assert len([line for line in logs if line["event"] == "memory cannot be given back"]) == 1
    assert service.state_name == "running"
    os.close(driver.region.fd)
    driver.region.fd = writable

    driver.request(INFLATE, pfns([first + 3]))
    await settled(service)
    assert service.releasing.problem is None
    assert service.releasing.reclaimed_bytes == FRAME_BYTES


async def test_a_problem_with_memory_is_over_when_its_front_end_has_gone(alone) -> None:
    alone.releasing.problem = "sealed"
    alone.disconnect()
    assert alone.releasing.problem is None


async def test_frames_that_are_in_the_balloon_already_are_given_back_again(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    for _ in range(2):
        driver.guest.touch(first, 1)
        driver.request(INFLATE, pfns([first]))
        await settled(service)
    assert service.releasing.reclaimed_bytes == 2 * FRAME_BYTES
    assert service.device.counters.repeated_frames == 1


async def test_what_a_queue_stops_at_is_where_it_goes_on(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    for number in range(5):
        driver.request(INFLATE, pfns([first + number]))
    await settled(service)
    assert service.stop_queue(INFLATE).base == 5
    assert service.stop_queue(DEFLATE).base == 0
    assert service.state_name == "paused"


async def test_memory_is_not_changed_under_a_queue_that_runs(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    with pytest.raises(AssertionError):
        service.set_memory(GuestMemory())


async def test_every_fact_is_observed() -> None:
    facts = FactLog()
    async with driven(facts=facts) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        driver.write_actual(3)
        driver.request(INFLATE, pfns([5000]))
        await settled(service)
        service.set_target(9)
    assert [type(fact).__name__ for fact in facts.facts] == [
        "MemoryKnown",
        "Negotiated",
        "QueueStarted",
        "QueueStarted",
        "ConfigWritten",
        "Request",
        "TargetSet",
        "QueueStopped",
        "QueueStopped",
        "MemoryKnown",
        "Negotiated",
    ]
    assert facts.of(ConfigWritten) == [ConfigWritten(4, (3).to_bytes(4, "little"))]


# Statistics.


async def test_statistics_are_asked_for_at_their_interval() -> None:
    async with driven(stats_interval_s=5) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        head = driver.request(STATS, statistics(111))
        await asyncio.sleep(4.9)
        assert free_memory(service) == 111
        assert driver.used(STATS) is None
        await asyncio.sleep(0.2)
        assert driver.used(STATS) == head
        assert driver.queue_interrupts == [STATS]

        driver.request(STATS, statistics(222))
        await asyncio.sleep(4.7)
        assert free_memory(service) == 222
        assert driver.used(STATS) is None
        await asyncio.sleep(0.3)
        assert driver.used(STATS) == head


async def test_statistics_are_not_asked_for_twice_before_they_came() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=5) as (_, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        driver.request(STATS, statistics(111))
        await asyncio.sleep(21)
        assert len(facts.of(StatisticsDue)) == 4
        assert driver.used(STATS) is not None
        assert driver.used(STATS) is None


async def test_another_interval_holds_from_now_on() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=1000) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        await asyncio.sleep(100)
        service.set_statistics_interval(1)
        assert service.statistics_interval_s == 1
        await asyncio.sleep(10.5)
        assert len(facts.of(StatisticsDue)) == 10
        service.set_statistics_interval(0.25)
        await asyncio.sleep(1.1)
        assert len(facts.of(StatisticsDue)) == 14


async def test_an_interval_of_zero_asks_no_more() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=5) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        service.set_statistics_interval(0)
        await asyncio.sleep(10_000)
        assert facts.of(StatisticsDue) == []
        service.set_statistics_interval(5)
        await asyncio.sleep(5.5)
        assert len(facts.of(StatisticsDue)) == 1


async def test_an_interval_that_was_set_before_the_driver_came_is_kept() -> None:
    async with driven(stats_interval_s=0) as (service, driver):
        service.set_statistics_interval(2)
        await asyncio.sleep(0.5)
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        head = driver.request(STATS, statistics(111))
        await asyncio.sleep(1.9)
        assert driver.used(STATS) is None
        await asyncio.sleep(0.2)
        assert driver.used(STATS) == head


async def test_starting_the_statsq_again_asks_no_more_often() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=5) as (service, driver):
        for _ in range(3):
            driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
            driver.device.reset()
            await settled(service)
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        await asyncio.sleep(20.5)
        assert len(facts.of(StatisticsDue)) == 4


async def test_a_broken_driver_is_not_asked() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=5) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        driver.request(STATS, statistics(111))
        await settled(service)
        driver.guest.queues[INFLATE].ring._avail[1] = 0x4000
        driver.device.kick(INFLATE)
        await asyncio.sleep(60)
        assert service.state_name == "broken"
        assert facts.of(StatisticsDue) == []
        assert driver.used(STATS) is None


async def test_statistics_have_the_time_at_which_they_came(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    before = datetime.now(UTC)
    driver.request(STATS, statistics(111))
    await settled(service)
    assert before <= service.device.state.statistics.arrived_at <= datetime.now(UTC)


async def test_nothing_is_asked_after_the_service_stopped() -> None:
    facts = FactLog()
    async with driven(facts=facts, stats_interval_s=5) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        driver.request(STATS, statistics(111))
        await settled(service)
        await service.stop()
        await asyncio.sleep(60)
        assert facts.of(StatisticsDue) == []
