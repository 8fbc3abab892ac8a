import pytest
from support.in_process_driver import STATS

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag

DISABLED = "Internal VMM error: Balloon: Received stats query when stats are disabled."
NO_CHANGE = "Balloon update error: Balloon: Statistics cannot be enabled/disabled after activation."
NAMES = {
    "swap_in",
    "swap_out",
    "major_faults",
    "minor_faults",
    "free_memory",
    "total_memory",
    "available_memory",
    "disk_caches",
    "hugetlb_allocations",
    "hugetlb_failures",
    "oom_kill",
    "alloc_stall",
    "async_scan",
    "direct_scan",
    "async_reclaim",
    "direct_reclaim",
}


def said(values: dict[int, int]) -> bytes:
    return b"".join(STATISTIC.pack(Statistic(tag, value)) for tag, value in values.items())


async def say(started, values: dict[int, int]) -> None:
    started.driver.request(STATS, said(values))
    await started.settled()


async def test_sizes_are_shown_in_pages_and_mebibytes(started) -> None:
    await started.client.done("PATCH", "/balloon", {"amount_mib": 4})
    started.driver.write_actual(700)
    assert await started.client.get("/balloon/statistics") == {
        "target_pages": 1024,
        "actual_pages": 700,
        "target_mib": 4,
        "actual_mib": 2,
    }


async def test_every_statistic_has_firecrackers_name_for_it(started) -> None:
    await say(started, {tag: 1000 + tag for tag in StatisticTag})
    shown = await started.client.get("/balloon/statistics")
    assert shown.keys() - {"target_pages", "actual_pages", "target_mib", "actual_mib"} == NAMES
    assert (shown["swap_in"], shown["available_memory"], shown["direct_reclaim"]) == (1000, 1006, 1015)


async def test_a_statistic_that_was_never_sent_is_left_out(started) -> None:
    await say(started, {StatisticTag.FREE_MEMORY: (1 << 64) - 1, StatisticTag.MAJOR_FAULTS: 0, 999: 5})
    shown = await started.client.get("/balloon/statistics")
    assert shown.keys() & NAMES == {"free_memory", "major_faults"}
    assert (shown["free_memory"], shown["major_faults"]) == ((1 << 64) - 1, 0)
    assert len(shown) == 6


@pytest.mark.parametrize(
    "started",
    [{"stats_interval_s": 0}, {"features": ["must-tell-host", "page-poison", "deflate-on-oom"]}],
    indirect=True,
)
async def test_statistics_that_are_disabled_are_not_shown_nor_enabled(started) -> None:
    assert await started.client.refused("GET", "/balloon/statistics") == DISABLED
    refused = await started.client.refused("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1})
    assert refused == NO_CHANGE
    assert (await started.client.get("/balloon"))["stats_polling_interval_s"] == 0
    await started.client.done("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0})


async def test_statistics_that_are_enabled_cannot_be_disabled(started) -> None:
    refused = await started.client.refused("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 0})
    assert refused == NO_CHANGE
    assert started.service.statistics_interval_s == 5
    assert started.memory.times == 0


async def test_another_interval_asks_at_once_and_then_so_often(started) -> None:
    await say(started, {StatisticTag.FREE_MEMORY: 1})
    assert started.driver.used(STATS) is None
    await started.client.done("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 60})
    assert started.driver.used(STATS) is not None
    assert started.service.statistics_interval_s == 60
    assert (await started.client.get("/balloon"))["stats_polling_interval_s"] == 60
    assert started.memory.times == 1


async def test_the_same_interval_changes_nothing(started) -> None:
    await say(started, {StatisticTag.FREE_MEMORY: 1})
    await started.client.done("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 5})
    assert started.driver.used(STATS) is None


@pytest.mark.parametrize("started", [{"stats_interval_s": 0.1}], indirect=True)
async def test_an_interval_in_parts_of_a_second_is_shown_rounded_up(started) -> None:
    assert (await started.client.get("/balloon"))["stats_polling_interval_s"] == 1
    await started.client.done("PATCH", "/balloon/statistics", {"stats_polling_interval_s": 1})
    assert started.service.statistics_interval_s == 0.1


@pytest.mark.parametrize("started", [{"stats_interval_s": 86400}], indirect=True)
async def test_an_interval_beyond_what_a_u16_has_is_shown_as_the_longest(started) -> None:
    assert (await started.client.get("/balloon"))["stats_polling_interval_s"] == 65535


async def test_statistics_are_forgotten_when_the_driver_is_reset(started) -> None:
    await say(started, {StatisticTag.FREE_MEMORY: 1})
    started.driver.device.reset()
    await started.reset_done()
    started.load()
    assert (await started.client.get("/balloon/statistics")).keys() & NAMES == set()
