import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS, Driver, driven

from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond.events.budget import MOST, WINDOW_S
from vballoond.events.log import Event, EventLog
from vballoond.events.pace import INTERVAL_S
from vballoond.service.balloon_service import BalloonService

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FIRST_PFN = 2000  # below that are the rings


@dataclass
class Rig:
    service: BalloonService
    driver: Driver
    log: EventLog

    def events(self, *kinds: str) -> list[Event]:
        events, whole = self.log.behind("run-0")
        assert whole
        return [event for event in events if event.kind in kinds]

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [dict(event.data) for event in self.events(kind)]

    async def inflate(self, index: int) -> None:
        self.driver.request(INFLATE, pfns([FIRST_PFN + index]))
        await settled(self.service)
        self.driver.used(INFLATE)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    log = EventLog("run", lambda: NOW)
    async with driven(events=log) as (service, driver):
        yield Rig(service, driver, log)


async def test_a_driver_is_told_from_its_connection_to_its_going(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    await rig.driver.device.close(lambda: None)
    told = rig.events("connected", "negotiated", "state", "disconnected")
    assert [event.kind for event in told] == ["connected", "negotiated", "state", "state", "disconnected", "state"]
    assert "version-1" in rig.data("negotiated")[0]["features"]
    assert [data["state"] for data in rig.data("state")] == ["running", "paused", "waiting"]


async def test_a_balloon_that_breaks_is_told_with_the_reason(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    rig.service.break_off("inflateq: nonsense")
    assert rig.data("broken") == [{"reason": "inflateq: nonsense"}]
    assert rig.data("state")[-1] == {"state": "broken", "reason": "inflateq: nonsense"}


async def test_sizes_are_told_at_most_once_a_second_and_the_last_is_not_lost(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    await asyncio.sleep(3 * INTERVAL_S)
    before = len(rig.data("sizes"))
    for index in range(30):
        await rig.inflate(index)
    assert len(rig.data("sizes")) == before + 1
    await asyncio.sleep(INTERVAL_S)
    assert len(rig.data("sizes")) == before + 2
    assert rig.data("sizes")[-1]["held_frames"] == 30


async def test_sizes_that_are_the_same_are_not_told_again(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    await asyncio.sleep(INTERVAL_S)
    before = len(rig.data("sizes"))
    for _ in range(20):
        rig.driver.write_actual(0)
        await asyncio.sleep(INTERVAL_S / 4)
    assert len(rig.data("sizes")) == before


async def test_statistics_are_told_at_most_once_a_second(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
    for free_bytes in range(5):
        rig.driver.request(STATS, STATISTIC.pack(Statistic(StatisticTag.FREE_MEMORY, free_bytes)))
        await settled(rig.service)
    await asyncio.sleep(INTERVAL_S)
    told = [data["statistics"]["statistics"] for data in rig.data("statistics")]
    assert told == [{"free_memory": 0}, {"free_memory": 4}]


async def test_a_guest_that_comes_and_goes_all_the_time_is_told_of_so_often_and_its_state_in_the_end(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    for _ in range(1000):
        rig.service.telling.brought_about("connected")
        rig.service.break_off("again")
        rig.service.broken_reason = None
        rig.service.telling.state_may_differ()
    assert len(rig.events("connected", "negotiated", "state")) <= MOST
    rig.service.break_off("for good")
    await asyncio.sleep(2 * WINDOW_S)
    assert rig.data("state")[-1] == {"state": "broken", "reason": "for good"}
    rig.service.telling.brought_about("connected")
    assert rig.data("connected")[-1]["untold_before"] > 900


async def test_nothing_is_told_once_the_service_has_stopped(rig: Rig) -> None:
    rig.driver.load(INFLATE, DEFLATE)
    for index in range(3):
        await rig.inflate(index)
    await rig.service.stop()
    events = len(rig.events("sizes"))
    await asyncio.sleep(10)
    assert len(rig.events("sizes")) == events
