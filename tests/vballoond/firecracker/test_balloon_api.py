"""The rules of Firecracker's own API test of the balloon, one after the other, and those that its code has besides."""

import pytest
from support.backend_rig import backend_rig
from support.fake_front_end import qemu_connect
from support.firecracker_client import answered, client
from support.in_process_driver import driven

from protocol.balloon.features import BalloonFeature

MIB = 1 << 20
PAGES_PER_MIB = 256
BEFORE = "The requested operation is not supported before starting the microVM."
AFTER = "The requested operation is not supported after starting the microVM."
CONFIG = {"amount_mib": 1, "deflate_on_oom": True}


# Before the start.


async def test_updating_a_balloon_before_the_start_is_refused(waiting) -> None:
    assert await waiting.client.refused("PATCH", "/balloon", {"amount_mib": 0}) == BEFORE
    assert waiting.memory.times == 0


async def test_a_balloon_is_configured_by_put(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", CONFIG)
    assert waiting.service.target_frames == PAGES_PER_MIB
    assert "deflate-on-oom" in waiting.service.settings.features


async def test_put_overwrites_what_another_put_set(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", {**CONFIG, "free_page_hinting": True, "free_page_reporting": True})
    await waiting.client.done(
        "PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False, "stats_polling_interval_s": 5}
    )
    assert await waiting.client.get("/balloon") == {
        "amount_mib": 0,
        "deflate_on_oom": False,
        "stats_polling_interval_s": 5,
        "free_page_hinting": False,
        "free_page_reporting": False,
    }


async def test_the_configuration_is_shown_before_the_start(waiting) -> None:
    everything = {
        "amount_mib": 64,
        "deflate_on_oom": True,
        "stats_polling_interval_s": 65535,
        "free_page_hinting": True,
        "free_page_reporting": True,
    }
    await waiting.client.done("PUT", "/balloon", everything)
    assert await waiting.client.get("/balloon") == everything


async def test_updating_is_refused_before_the_start_after_put_too(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", CONFIG)
    assert await waiting.client.refused("PATCH", "/balloon", {"amount_mib": 2}) == BEFORE
    assert waiting.service.target_frames == PAGES_PER_MIB


async def test_an_amount_above_the_memory_is_refused_before_the_start(waiting) -> None:
    refused = await waiting.client.refused("PUT", "/balloon", {**CONFIG, "amount_mib": 65})
    assert refused == "Balloon config error: Amount of pages requested is too large."
    assert waiting.service.target_frames == 0
    assert "deflate-on-oom" not in waiting.service.settings.features
    assert waiting.memory.times == 0


async def test_all_of_the_memory_may_be_the_amount_before_the_start(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", {**CONFIG, "amount_mib": 64})
    assert waiting.service.target_frames == 64 * PAGES_PER_MIB


@pytest.mark.parametrize("waiting", [{"memory": None}], indirect=True)
async def test_an_amount_that_overflows_num_pages_is_refused_before_the_start_whose_memory_is_unknown(waiting) -> None:
    refused = await waiting.client.refused("PUT", "/balloon", {**CONFIG, "amount_mib": 33554432})
    assert refused.startswith("Balloon config error: ")
    await waiting.client.done("PUT", "/balloon", {**CONFIG, "amount_mib": 16777215})
    assert waiting.service.target_frames == 16777215 * PAGES_PER_MIB


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/balloon/statistics", None),
        ("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1}),
        ("PATCH", "/balloon/hinting/start", None),
        ("GET", "/balloon/hinting/status", None),
        ("PATCH", "/balloon/hinting/stop", None),
    ],
)
async def test_what_needs_a_driver_is_refused_before_the_start(waiting, method: str, path: str, body: object) -> None:
    assert await waiting.client.refused(method, path, body) == BEFORE


async def test_a_balloon_is_shown_before_any_put_since_it_is_configured(waiting) -> None:
    assert await waiting.client.get("/balloon") == {
        "amount_mib": 0,
        "deflate_on_oom": False,
        "stats_polling_interval_s": 0,
        "free_page_hinting": False,
        "free_page_reporting": False,
    }


async def test_put_says_what_the_next_driver_is_offered(waiting) -> None:
    await waiting.client.done(
        "PUT",
        "/balloon",
        {**CONFIG, "free_page_hinting": True, "free_page_reporting": True, "stats_polling_interval_s": 1},
    )
    assert waiting.service.settings.offered == (
        BalloonFeature.MUST_TELL_HOST
        | BalloonFeature.PAGE_POISON
        | BalloonFeature.STATS_VQ
        | BalloonFeature.DEFLATE_ON_OOM
        | BalloonFeature.FREE_PAGE_HINT
        | BalloonFeature.PAGE_REPORTING
    )
    await waiting.client.done("PUT", "/balloon", {"amount_mib": 0, "deflate_on_oom": False})
    assert waiting.service.settings.offered == BalloonFeature.MUST_TELL_HOST | BalloonFeature.PAGE_POISON


async def test_statistics_are_off_where_put_does_not_say_how_often(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", {**CONFIG, "stats_polling_interval_s": 7})
    assert waiting.service.statistics_interval_s == 7
    await waiting.client.done("PUT", "/balloon", CONFIG)
    assert waiting.service.statistics_interval_s == 0
    assert (await waiting.client.get("/balloon"))["stats_polling_interval_s"] == 0


@pytest.mark.parametrize("waiting", [{"min": "2.5MiB", "max": "8MiB"}], indirect=True)
async def test_the_bounds_that_are_configured_are_kept_before_the_start(waiting) -> None:
    refused = await waiting.client.refused("PUT", "/balloon", {**CONFIG, "amount_mib": 2})
    assert refused == "Balloon config error: Amount of pages requested is less than 3MiB."
    refused = await waiting.client.refused("PUT", "/balloon", {**CONFIG, "amount_mib": 9})
    assert refused == "Balloon config error: Amount of pages requested is too large."
    await waiting.client.done("PUT", "/balloon", {**CONFIG, "amount_mib": 8})


async def test_what_put_sets_is_kept_before_it_is_answered(waiting) -> None:
    await waiting.client.done("PUT", "/balloon", CONFIG)
    assert waiting.memory.times == 1
    await waiting.client.get("/balloon")
    assert waiting.memory.times == 1


async def test_a_monitor_that_has_read_the_features_is_not_told_of_others(socket_path) -> None:
    async with backend_rig(memory="64MiB") as rig, answered(rig.service, socket_path), client(socket_path) as asking:
        await qemu_connect(rig.connect())
        assert await asking.refused("PUT", "/balloon", CONFIG) == AFTER
        as_before = {"amount_mib": 3, "deflate_on_oom": False, "stats_polling_interval_s": 2}
        await asking.done("PUT", "/balloon", as_before)
        assert rig.service.target_frames == 3 * PAGES_PER_MIB


# After the start.


async def test_configuring_a_balloon_after_the_start_is_refused(started) -> None:
    assert await started.client.refused("PUT", "/balloon", CONFIG) == AFTER
    assert started.service.target_frames == 0


async def test_updating_a_balloon_after_the_start_sets_its_target(started) -> None:
    await started.client.done("PATCH", "/balloon", {"amount_mib": 4})
    assert started.service.target_frames == 4 * PAGES_PER_MIB
    assert int.from_bytes(started.driver.device.read_config(0, 4), "little") == 4 * PAGES_PER_MIB
    assert started.driver.config_interrupts == 1
    assert started.memory.times == 1


async def test_what_a_client_says_of_its_bodys_type_is_not_looked_at(started) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "17"}  # as curl -d has it
    fields = "".join(f"{name}: {value}\r\n" for name, value in form.items())
    head = f"PATCH /balloon HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    answer = await started.client.send(head.encode() + b'{"amount_mib": 4}')
    assert answer.status == 204
    assert started.service.target_frames == 4 * PAGES_PER_MIB


async def test_an_amount_above_the_memory_is_refused_after_the_start(started) -> None:
    refused = await started.client.refused("PATCH", "/balloon", {"amount_mib": 300})
    assert refused == "Balloon update error: Balloon: Requested memory should be less than 300MiB"
    assert started.service.target_frames == 0
    assert started.memory.times == 0


async def test_all_of_the_memory_may_be_the_amount_after_the_start(started) -> None:
    await started.client.done("PATCH", "/balloon", {"amount_mib": 16})
    await started.client.refused("PATCH", "/balloon", {"amount_mib": 17})
    assert started.service.target_frames == 16 * PAGES_PER_MIB


@pytest.mark.parametrize("amount_mib", [16777216, 33554432, (1 << 32) - 1])
async def test_an_amount_that_overflows_num_pages_is_refused(started, amount_mib: int) -> None:
    refused = await started.client.refused("PATCH", "/balloon", {"amount_mib": amount_mib})
    assert refused == f"Balloon update error: Balloon: Requested memory should be less than {amount_mib}MiB"
    assert started.service.target_frames == 0


@pytest.mark.parametrize("started", [{"min": "2MiB", "max": "8MiB"}], indirect=True)
async def test_the_bounds_that_are_configured_are_kept_after_the_start(started) -> None:
    refused = await started.client.refused("PATCH", "/balloon", {"amount_mib": 1})
    assert refused == "Balloon update error: Balloon: Requested memory should be at least 2MiB"
    await started.client.refused("PATCH", "/balloon", {"amount_mib": 9})
    await started.client.done("PATCH", "/balloon", {"amount_mib": 8})
    await started.client.done("PATCH", "/balloon", {"amount_mib": 2})


async def test_the_configuration_is_shown_after_the_start(started) -> None:
    await started.client.done("PATCH", "/balloon", {"amount_mib": 4})
    assert await started.client.get("/balloon") == {
        "amount_mib": 4,
        "deflate_on_oom": False,
        "stats_polling_interval_s": 5,
        "free_page_hinting": True,
        "free_page_reporting": False,
    }


async def test_an_amount_in_pages_is_shown_in_whole_mebibytes(started) -> None:
    started.service.set_target(2 * PAGES_PER_MIB - 1)
    assert (await started.client.get("/balloon"))["amount_mib"] == 1


async def test_the_target_is_kept_when_the_driver_is_reset(started) -> None:
    await started.client.done("PATCH", "/balloon", {"amount_mib": 3})
    started.driver.write_actual(3 * PAGES_PER_MIB)
    started.driver.device.reset()
    await started.reset_done()
    assert (await started.client.get("/balloon"))["amount_mib"] == 3
    started.load()
    assert int.from_bytes(started.driver.device.read_config(0, 4), "little") == 3 * PAGES_PER_MIB
    sizes = await started.client.get("/balloon/statistics")
    assert (sizes["target_mib"], sizes["actual_pages"]) == (3, 0)


async def test_a_target_that_is_set_while_the_driver_is_unloaded_waits_for_the_next_one(started) -> None:
    started.driver.device.reset()
    await started.reset_done()
    assert started.service.state_name == "paused"
    await started.client.done("PATCH", "/balloon", {"amount_mib": 2})
    assert await started.client.refused("PUT", "/balloon", CONFIG) == AFTER
    started.load()
    assert int.from_bytes(started.driver.device.read_config(0, 4), "little") == 2 * PAGES_PER_MIB


async def test_a_broken_balloon_is_not_active(started) -> None:
    started.service.break_off("a reason")
    for method, path, body in (
        ("PATCH", "/balloon", {"amount_mib": 2}),
        ("PATCH", "/balloon/hinting/start", None),
        ("PATCH", "/balloon/hinting/stop", None),
    ):
        refused = await started.client.refused(method, path, body)
        assert refused == "Balloon update error: Balloon: Device not activated yet."
    assert started.service.target_frames == 0
    await started.client.get("/balloon")
    await started.client.get("/balloon/statistics")
    await started.client.get("/balloon/hinting/status")


async def test_it_is_before_the_start_again_once_the_monitor_has_gone(socket_path) -> None:
    async with (
        driven(stats_interval_s=0) as (service, driver),
        answered(service, socket_path),
        client(socket_path) as asking,
    ):
        driver.load(0, 1)
        await asking.done("PATCH", "/balloon", {"amount_mib": 2})
        async with service.lock:
            service.disconnect()
        assert await asking.refused("PATCH", "/balloon", {"amount_mib": 3}) == BEFORE
        assert (await asking.get("/balloon"))["amount_mib"] == 2
        await asking.done("PUT", "/balloon", CONFIG)
