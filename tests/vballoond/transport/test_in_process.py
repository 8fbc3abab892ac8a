import asyncio
from collections.abc import AsyncIterator

import pytest
from support.backend_rig import running_service, settled
from support.fact_log import FactLog
from support.fake_front_end import MIB, RING_FEATURES, pfns
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS, Driver, held

from protocol.balloon.config_space import BALLOON_CONFIG, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.balloon.facts import QueueStarted, QueueStopped
from vballoond.config.models import BalloonSettings
from vballoond.service.balloon_service import BalloonService

READY = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK | DeviceStatus.DRIVER_OK


@pytest.fixture
async def service() -> AsyncIterator[BalloonService]:
    keys = BalloonSettings(name="demo", transport="in-process", memory="16MiB", stats_interval_s=0)
    async with running_service(keys, FactLog()) as service:
        yield service


@pytest.fixture
async def driver(service: BalloonService) -> AsyncIterator[Driver]:
    driver = Driver(service)
    yield driver
    await driver.device.close(driver.region.close)
    driver.guest.close()


def test_the_device_offers_its_rings_and_the_configured_features(driver) -> None:
    assert driver.device.device_features() == (
        RingFeature.VERSION_1
        | RingFeature.EVENT_IDX
        | RingFeature.INDIRECT_DESC
        | RingFeature.IN_ORDER
        | BalloonFeature.MUST_TELL_HOST
        | BalloonFeature.STATS_VQ
        | BalloonFeature.PAGE_POISON
    )


async def test_a_balloon_waits_until_its_driver_is_ready(driver, service) -> None:
    assert service.connected
    assert service.state_name == "waiting"
    assert service.memory.size_bytes == 16 * MIB
    assert driver.device.status() == DeviceStatus(0)
    driver.set_up(INFLATE, DEFLATE)
    assert driver.device.status() == READY & ~DeviceStatus.DRIVER_OK
    assert service.state_name == "waiting"
    driver.device.driver_ok()
    assert driver.device.status() == READY
    assert service.state_name == "running"


async def test_a_driver_that_goes_on_with_features_that_were_refused_breaks_the_balloon(driver, service) -> None:
    driver.load(INFLATE, DEFLATE, features=RING_FEATURES | BalloonFeature.PAGE_REPORTING)
    assert service.state_name == "broken"
    assert service.broken_reason.startswith("set-up: the driver says DRIVER_OK, though its features were not agreed to")
    assert service.negotiated_features == 0
    assert driver.device.status() == READY & ~DeviceStatus.FEATURES_OK | DeviceStatus.NEEDS_RESET
    driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
    driver.device.driver_ok()
    await settled(service)
    assert (driver.used(INFLATE), driver.config_interrupts, service.device.counters.guest_errors) == (None, 1, 1)

    driver.device.reset()
    await settled(service)
    driver.load(INFLATE, DEFLATE)
    assert (service.state_name, service.negotiated_features) == ("running", RING_FEATURES)


async def test_features_stay_refused_or_agreed_on_whatever_is_chosen_while_the_device_runs(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    driver.device.accept_features(RING_FEATURES | BalloonFeature.PAGE_REPORTING)
    assert (driver.device.status(), service.negotiated_features) == (READY, RING_FEATURES)


async def test_a_request_is_served_and_its_queue_interrupted(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    head = driver.request(INFLATE, pfns([first, first + 1]))
    assert driver.queue_interrupts == []
    await settled(service)
    assert held(service) == [(first, 2)]
    assert driver.guest.queues[INFLATE].ring.get_used() == head
    assert driver.queue_interrupts == [INFLATE]

    driver.request(DEFLATE, pfns([first]))
    await settled(service)
    assert held(service) == [(first + 1, 1)]
    assert driver.queue_interrupts == [INFLATE, DEFLATE]


async def test_inflating_gives_memory_back(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.guest.touch_own_memory()
    driver.guest.touch(first, 64)
    before = driver.guest.resident_bytes()
    driver.request(INFLATE, pfns(range(first, first + 64)))
    await settled(service)
    assert driver.guest.resident_bytes() == before - 64 * FRAME_BYTES
    assert service.releasing.reclaimed_bytes == 64 * FRAME_BYTES


async def test_a_kick_before_the_driver_is_ready_is_not_lost(driver, service) -> None:
    driver.set_up(INFLATE, DEFLATE)
    head = driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
    await settled(service)
    assert driver.guest.queues[INFLATE].ring.get_used() is None
    driver.device.driver_ok()
    await settled(service)
    assert driver.guest.queues[INFLATE].ring.get_used() == head


async def test_a_kick_of_a_queue_that_is_not_there_is_harmless(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    driver.device.kick(4)
    await settled(service)
    assert service.state_name == "running"


async def test_configuration_space_is_read_and_written(driver, service) -> None:
    service.set_target(77)
    driver.device.write_config(4, (33).to_bytes(4, "little"))
    assert BALLOON_CONFIG.unpack(driver.device.read_config(0, 16)) == BalloonConfig(num_pages=77, actual=33)
    assert driver.device.read_config(4, 4) == (33).to_bytes(4, "little")
    assert service.actual_frames == 33


async def test_a_new_target_is_a_config_interrupt(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    service.set_target(77)
    assert driver.config_interrupts == 1
    service.set_target(77)
    assert driver.config_interrupts == 1


async def test_queues_have_the_numbers_that_linux_gives_them(driver, service) -> None:
    driver.load(INFLATE, DEFLATE, STATS, features=RING_FEATURES | BalloonFeature.STATS_VQ)
    driver.request(STATS, STATISTIC.pack(Statistic(StatisticTag.OOM_KILL, 3)))
    await settled(service)
    assert service.device.state.statistics.values == {StatisticTag.OOM_KILL: 3}


async def test_a_queue_that_no_feature_has_a_use_for_is_not_served(driver, service) -> None:
    driver.load(INFLATE, DEFLATE, STATS)
    driver.request(STATS, bytes(10))
    await settled(service)
    roles = [fact.role for fact in service._observer.of(QueueStarted)]
    assert roles == [QueueRole.INFLATE, QueueRole.DEFLATE]
    assert driver.guest.queues[STATS].ring.get_used() is None


async def test_a_reset_is_complete_when_the_status_reads_zero(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    driver.device.reset()
    assert driver.device.status() == READY
    await settled(service)
    assert driver.device.status() == DeviceStatus(0)
    assert driver.config_interrupts == 1
    assert service.state_name == "paused"
    assert {fact.role for fact in service._observer.of(QueueStopped)} == {QueueRole.INFLATE, QueueRole.DEFLATE}

    driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
    await settled(service)
    assert driver.guest.queues[INFLATE].ring.get_used() is None


async def test_a_reset_waits_for_a_pass_that_is_under_way(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    async with service.lock:
        driver.device.reset()
        for _ in range(5):
            await asyncio.sleep(0)
        assert driver.device.status() == READY
        assert service.state_name == "running"
    await settled(service)
    assert driver.device.status() == DeviceStatus(0)


async def test_a_driver_that_is_loaded_again_finds_an_empty_balloon(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.request(INFLATE, pfns([first]))
    await settled(service)
    driver.device.reset()
    await settled(service)
    assert held(service) == [(first, 1)]

    driver.load(INFLATE, DEFLATE)
    assert held(service) == []
    driver.request(INFLATE, pfns([first + 1]))
    await settled(service)
    assert held(service) == [(first + 1, 1)]


async def test_queues_of_the_driver_before_are_forgotten(driver, service) -> None:
    driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    driver.device.reset()
    await settled(service)
    driver.load(INFLATE, DEFLATE, features=WITH_STATS)
    assert service.device.state.running == {QueueRole.INFLATE, QueueRole.DEFLATE}


async def test_a_broken_driver_sees_that_a_reset_is_needed(driver, service) -> None:
    driver.load(INFLATE, DEFLATE)
    driver.guest.queues[INFLATE].ring._avail[1] = 0x8000
    driver.device.kick(INFLATE)
    await settled(service)
    assert service.state_name == "broken"
    assert driver.device.status() == READY | DeviceStatus.NEEDS_RESET
    assert driver.config_interrupts == 1

    driver.device.reset()
    await settled(service)
    assert driver.device.status() == DeviceStatus(0)
    driver.load(INFLATE, DEFLATE)
    assert service.state_name == "running"
    head = driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
    await settled(service)
    assert driver.guest.queues[INFLATE].ring.get_used() == head


async def test_closing_lets_go_of_memory_once_nothing_is_served(service) -> None:
    driver = Driver(service)
    driver.load(INFLATE, DEFLATE)
    states: list[tuple[str, bool]] = []

    def unmap() -> None:
        states.append((service.state_name, service.lock.locked()))
        driver.region.close()

    await driver.device.close(unmap)
    assert states == [("waiting", True)]
    assert service.memory.size_bytes == 0
    assert not service.connected
    driver.guest.close()
