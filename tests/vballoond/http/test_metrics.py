from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag

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
    assert seen["vballoond_guest_events_oom_kill", "demo"] == 3
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
