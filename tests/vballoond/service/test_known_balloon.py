import pytest
from support.backend_rig import running_service, settled, vhost_user_settings
from support.fake_front_end import MIB, pfns
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES, driven, held

from protocol.balloon.page_frames import FRAME_BYTES

# Limits.


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
