import asyncio
from datetime import UTC, datetime

from structlog.testing import capture_logs
from support.backend_rig import settled
from support.fact_log import FactLog
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES, STATS, WITH_STATS, Driver, driven, held

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond.balloon.facts import StatisticsDue
from vballoond.service.balloon_service import BalloonService

MEMORY_FRAMES = MEMORY_BYTES // FRAME_BYTES


def statistics(free_bytes: int) -> bytes:
    return STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, free_bytes))


def free_memory(service: BalloonService) -> int | None:
    known = service.device.state.statistics
    return None if known is None else known.values[StatisticTag.FREE_MEMORY]


# Targets.


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
