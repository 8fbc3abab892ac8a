from datetime import UTC, datetime

import pytest
from support.backend_rig import settled
from support.in_process_driver import DEFLATE, INFLATE, MEMORY_BYTES, STATS, WITH_STATS

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag

DEMO, VM1 = "/v1/balloons/demo/statistics", "/v1/balloons/vm1/statistics"


def report(**values: int) -> bytes:
    entries = (Statistic(StatisticTag[name.upper()], value) for name, value in values.items())
    return b"".join(STATISTIC.pack(entry) for entry in entries)


async def send(balloons, **values: int) -> int:
    """Have the driver send statistics; return the head of the buffer."""
    if not balloons.demo.device.state.running:
        balloons.driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    head = balloons.driver.request(STATS, report(**values))
    await settled(balloons.demo)
    return head


async def test_statistics_are_shown_with_their_age(api, balloons) -> None:
    balloons.demo.set_statistics_interval(1000)
    await send(balloons, free_memory=123, swap_in=4, direct_reclaim=5)
    shown = await api.get(DEMO)
    assert shown["name"] == "demo"
    assert shown["interval_s"] == 1000
    assert shown["statistics"] == {"free_memory": 123, "swap_in": 4, "direct_reclaim": 5}
    assert shown["age_s"] >= 0
    assert shown["stale"] is False
    assert datetime.fromisoformat(shown["arrived_at"]) <= datetime.now(UTC)


async def test_what_is_missing_and_what_cannot_be_true_is_said(api, balloons) -> None:
    await send(balloons, **dict.fromkeys((tag.name for tag in StatisticTag), 7))
    shown = await api.get(DEMO)
    assert shown["missing"] == []
    assert shown["doubtful"] == {}
    await send(balloons, free_memory=2, total_memory=MEMORY_BYTES + 1, swap_in=6, oom_kill=(1 << 64) - 1)
    shown = await api.get(DEMO)
    assert shown["statistics"]["oom_kill"] == (1 << 64) - 1
    assert "available_memory" in shown["missing"]
    assert len(shown["missing"]) == len(StatisticTag) - 4
    assert list(shown["doubtful"]) == ["total_memory", "swap_in", "oom_kill"]
    assert shown["doubtful"]["total_memory"] == f"above the guest's memory, which is {MEMORY_BYTES}"
    assert shown["doubtful"]["swap_in"] == "a counter that fell: it was 7"


async def test_what_a_driver_before_this_one_said_is_not_held_against_it(api, balloons) -> None:
    await send(balloons, swap_in=7)
    balloons.driver.device.reset()
    await settled(balloons.demo)
    await send(balloons, swap_in=6)
    assert (await api.get(DEMO))["doubtful"] == {}


async def test_statistics_of_a_driver_that_broke_its_balloon_are_stale(api, balloons) -> None:
    balloons.demo.set_statistics_interval(1000)
    await send(balloons, free_memory=123)
    balloons.demo.break_off("for the test")
    assert (await api.get(DEMO))["stale"] is True


async def test_there_are_no_statistics_without_a_driver(api) -> None:
    problem = await api.refused("GET", VM1, 503, "no-statistics")
    assert problem["detail"] == "balloon 'vm1' is waiting: there is no driver to ask for statistics"


async def test_there_are_no_statistics_before_the_driver_sent_any(api, balloons) -> None:
    balloons.driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    problem = await api.refused("GET", DEMO, 503, "no-statistics")
    assert "has sent no statistics" in problem["detail"]


async def test_there_are_no_statistics_where_none_are_offered(api, balloons) -> None:
    balloons.demo.change_settings(balloons.demo.settings.model_copy(update={"features": ("must-tell-host",)}))
    balloons.driver.load(INFLATE, DEFLATE)
    problem = await api.refused("GET", DEMO, 503, "no-statistics")
    assert "add \"stats\" to its 'features'" in problem["detail"]


async def test_there_are_no_statistics_of_a_driver_that_is_gone(api, balloons) -> None:
    await send(balloons, free_memory=123)
    balloons.driver.device.reset()
    await settled(balloons.demo)
    problem = await api.refused("GET", DEMO, 503, "no-statistics")
    assert "is paused" in problem["detail"]


@pytest.mark.parametrize("interval_s", [0, 0.1, 1, 0.5, 86400])
async def test_the_interval_of_statistics_can_be_set(api, balloons, interval_s: float) -> None:
    assert await api.patch(VM1, {"interval_s": interval_s}, 200) == {"name": "vm1", "interval_s": interval_s}
    assert balloons.vm1.statistics_interval_s == interval_s


async def test_another_interval_asks_the_guest_at_once(api, balloons) -> None:
    head = await send(balloons, free_memory=1)
    await api.patch(DEMO, {"interval_s": 0}, 200)
    assert balloons.driver.used(STATS) is None
    await api.patch(DEMO, {"interval_s": 1000}, 200)
    assert balloons.driver.used(STATS) == head
    await api.patch(DEMO, {"interval_s": 500}, 200)  # it has not answered yet
    assert balloons.driver.used(STATS) is None
    assert await send(balloons, free_memory=2) == head
    assert (await api.get(DEMO))["statistics"] == {"free_memory": 2}


@pytest.mark.parametrize("interval_s", [-1, -0.001, 0.09, 86400.5, 1e300])
async def test_an_interval_out_of_range_is_refused(api, balloons, interval_s: float) -> None:
    await api.refused("PATCH", VM1, 422, "interval-out-of-range", json={"interval_s": interval_s})
    assert balloons.vm1.statistics_interval_s == 0
