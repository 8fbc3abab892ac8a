import dataclasses
from collections import Counter
from typing import Any, get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond import __version__
from vballoond.balloon.counters import Counters
from vballoond.service.stalls import Code

LABELS = {"vm", "state", "reason", "le", "method", "code", "version", "role", "policy", "direction", "level"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


async def samples(api: Any, accept: str = OPENMETRICS) -> dict[tuple[str, str | None], float]:
    """Each sample that is of a balloon, by its name and the balloon's."""
    answer = await api.ask("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    parse = openmetrics if accept == OPENMETRICS else prometheus
    found = [sample for family in parse(answer.body.decode()) for sample in family.samples]
    return {(sample.name, sample.labels.get("vm")): sample.value for sample in found if "le" not in sample.labels}


async def test_sizes_and_counters_are_those_of_the_balloon(api, balloons) -> None:
    driver = balloons.driver
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.request(INFLATE, pfns(range(first, first + 8)))
    driver.request(DEFLATE, pfns([first]))
    driver.write_actual(7)
    balloons.demo.set_target(9)
    await settled(balloons.demo)
    seen = await samples(api)
    assert seen["vballoond_balloon_target_bytes", "demo"] == 9 * 4096
    assert seen["vballoond_balloon_actual_bytes", "demo"] == seen["vballoond_balloon_held_bytes", "demo"] == 7 * 4096
    assert seen["vballoond_balloon_inflated_pages_total", "demo"] == 8
    assert seen["vballoond_balloon_deflated_pages_total", "demo"] == 1
    assert seen["vballoond_guest_memory_bytes", "demo"] == balloons.demo.memory.size_bytes
    assert seen["vballoond_queue_turn_seconds_count", "demo"] >= 1


async def test_of_a_guest_that_is_not_there_nothing_is_claimed(api) -> None:
    seen = await samples(api)
    assert seen["vballoond_balloon_actual_bytes", "vm1"] == 0
    assert ("vballoond_guest_memory_bytes", "vm1") not in seen
    assert ("vballoond_guest_resident_bytes", "vm1") not in seen
    assert ("vballoond_guest_stats_last_update_timestamp_seconds", "vm1") not in seen


async def test_statistics_come_with_the_time_at_which_they_came(api, balloons) -> None:
    balloons.driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    entries = (Statistic(StatisticTag.FREE_MEMORY, 12345), Statistic(StatisticTag.OOM_KILL, 3))
    balloons.driver.request(STATS, b"".join(map(STATISTIC.pack, entries)))
    await settled(balloons.demo)
    seen = await samples(api)
    assert seen["vballoond_guest_memory_free_bytes", "demo"] == 12345
    assert seen["vballoond_guest_oom_kills_total", "demo"] == 3
    arrived_at = balloons.demo.device.state.statistics.arrived_at
    assert seen["vballoond_guest_stats_last_update_timestamp_seconds", "demo"] == pytest.approx(arrived_at.timestamp())


async def test_a_resize_that_is_done_counts_with_how_long_it_took(api, balloons) -> None:
    balloons.driver.load(INFLATE, DEFLATE)
    balloons.demo.set_target(1)
    balloons.driver.request(INFLATE, pfns([balloons.driver.guest.first_free_pfn()]))
    await settled(balloons.demo)
    balloons.driver.write_actual(1)
    seen = await samples(api)
    assert seen["vballoond_balloon_resize_duration_seconds_count", "demo"] == 1


async def test_a_scraper_gets_the_format_that_it_accepts(api) -> None:
    plain = await api.ask("GET", "/metrics", headers={"Accept": "text/plain"})
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    open_metrics = await api.ask("GET", "/metrics", headers={"Accept": OPENMETRICS})
    assert open_metrics.headers["Content-Type"].startswith("application/openmetrics-text; version=")
    assert open_metrics.body.endswith(b"# EOF\n")
    assert await samples(api, "text/plain")


async def test_the_daemons_own_figures_are_there_too(api) -> None:
    assert ("process_resident_memory_bytes", None) in await samples(api)


# Guests' claims.


async def send(balloons: Any, **values: int) -> None:
    entries = (Statistic(StatisticTag[name.upper()], value) for name, value in values.items())
    if not balloons.demo.device.state.running:
        balloons.driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    balloons.driver.request(STATS, b"".join(map(STATISTIC.pack, entries)))
    await settled(balloons.demo)


async def test_every_statistic_is_a_metric(api, balloons) -> None:
    before = await samples(api)
    await send(balloons, **{tag.name: 1000 + tag for tag in StatisticTag})
    seen = await samples(api)
    values = {value for (name, vm), value in seen.items() if vm == "demo" and (name, vm) not in before}
    assert values >= {1000 + tag for tag in StatisticTag}


async def test_how_far_claims_can_be_used_is_a_metric(api, balloons) -> None:
    balloons.demo.set_statistics_interval(1000)
    await send(balloons, total_memory=1 << 60, free_memory=1, swap_in=(1 << 64) - 1)
    seen = await samples(api)
    assert seen["vballoond_guest_stats_stale", "demo"] == 0
    assert seen["vballoond_guest_stats_doubtful", "demo"] == 2
    balloons.demo.break_off("for the test")
    assert (await samples(api))["vballoond_guest_stats_stale", "demo"] == 1


async def test_all_ones_are_no_value(api, balloons) -> None:
    await send(balloons, free_memory=(1 << 64) - 1)
    assert ("vballoond_guest_memory_free_bytes", "demo") not in await samples(api)


async def test_of_a_driver_that_is_gone_nothing_is_claimed(api, balloons) -> None:
    await send(balloons, free_memory=1)
    assert ("vballoond_guest_memory_free_bytes", "demo") in await samples(api)
    balloons.driver.device.reset()
    await settled(balloons.demo)
    seen = await samples(api)
    assert not [name for name, vm in seen if vm == "demo" and name.startswith("vballoond_guest_stats")]
    assert ("vballoond_guest_memory_free_bytes", "demo") not in seen


# What there is of what.


async def families(api: Any) -> dict[str, Any]:
    answer = await api.ask("GET", "/metrics", headers={"Accept": OPENMETRICS})
    return {family.name: family for family in openmetrics(answer.body.decode())}


async def test_every_counter_of_a_balloon_is_a_metric(api, balloons) -> None:
    for number, counter in enumerate(dataclasses.fields(Counters)):
        setattr(balloons.demo.device.counters, counter.name, 1000 + number)
    seen = Counter(value for (_, vm), value in (await samples(api)).items() if vm == "demo")
    assert all(seen[1000 + number] == 1 for number, _ in enumerate(dataclasses.fields(Counters)))


async def test_stalls_are_counted_by_their_reason(api, balloons) -> None:
    balloons.demo.target.stalls["guest-slow"] += 2
    (family,) = [family for name, family in (await families(api)).items() if name == "vballoond_balloon_stalls"]
    counted = {(sample.labels["vm"], sample.labels["reason"]): sample.value for sample in family.samples}
    assert counted == {(vm, reason): 0 for vm in ("demo", "vm1") for reason in get_args(Code)} | {
        ("demo", "guest-slow"): 2
    }


async def test_what_runs_is_a_metric(api) -> None:
    found = await families(api)
    assert found["vballoond_build"].samples[0].labels == {"version": __version__}
    assert found["vballoond_balloons"].samples[0].value == 2
    assert found["vballoond_problems"].samples[0].value == 0


async def test_requests_are_counted_by_what_came_of_them(api) -> None:
    await api.get("/v1/balloons")
    await api.get("/v1/balloons/nobody", 404)
    await api.patch("/v1/balloons/demo", {"target_mib": 1}, 202)
    for method in ("PROPFIND", "LOCK", "REPORT"):
        await api.ask(method, "/v1/balloons")
    counted = (await families(api))["vballoond_api_requests"].samples
    assert {(sample.labels["method"], sample.labels["code"]): sample.value for sample in counted} == {
        ("GET", "200"): 1,
        ("GET", "404"): 1,
        ("PATCH", "202"): 1,
        ("other", "405"): 3,
    }


async def test_every_label_is_of_the_code(api, balloons) -> None:
    await send(balloons, **dict.fromkeys((tag.name for tag in StatisticTag), 1))
    for name, family in (await families(api)).items():
        if name.startswith("vballoond_"):
            assert family.documentation.endswith("."), name
            labels = {label for sample in family.samples for label in sample.labels}
            assert labels <= LABELS, name


async def test_a_guest_does_not_make_more_of_it(api, balloons) -> None:
    async def number() -> int:
        return sum(sample.labels.get("vm") == "demo" for it in (await families(api)).values() for sample in it.samples)

    await send(balloons, **dict.fromkeys((tag.name for tag in StatisticTag), 1))
    before = await number()
    assert before < 150
    for value in range(50):
        entries = (Statistic(tag, value) for tag in range(8, 24))
        balloons.driver.request(STATS, b"".join(map(STATISTIC.pack, entries)))
        balloons.demo.set_target(value)
        await settled(balloons.demo)
    assert await number() <= before
