import asyncio
from datetime import UTC, datetime

import pytest

from vballoond.balloon.resize import Outcome
from vballoond.clock import Clock
from vballoond.service.resizing import REMEMBERED, Resizing

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def resizing() -> Resizing:
    return Resizing(Clock(asyncio.get_running_loop().time, lambda: NOW))


async def begun(resizing: Resizing, number: int, timeout_s: float) -> "asyncio.Task[bool]":
    task = asyncio.create_task(resizing.wait(number, timeout_s))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_there_is_no_resize_before_the_first(resizing) -> None:
    assert resizing.current is None
    assert list(resizing) == []
    assert resizing.find(1) is None
    assert resizing.observe(0, 0) is None


async def test_resizes_are_numbered_from_one(resizing) -> None:
    assert [resizing.begin(frames, 0) for frames in (10, 20, 20)] == [1, 2, 3]
    assert resizing.current.id == 3
    assert resizing.current.target_frames == 20
    assert resizing.current.started_at == NOW


async def test_a_resize_is_reached_when_driver_and_map_agree(resizing) -> None:
    resizing.begin(10, 0)
    assert resizing.observe(10, 9) is None
    assert resizing.observe(9, 10) is None
    finished = resizing.observe(10, 10)
    assert finished is resizing.current
    assert finished.done
    assert (finished.id, finished.target_frames) == (1, 10)


async def test_a_resize_is_reached_once(resizing) -> None:
    resizing.begin(10, 0)
    assert resizing.observe(10, 10) is not None
    assert resizing.observe(10, 10) is None
    assert resizing.observe(5, 5) is None
    assert resizing.current.done


async def test_whoever_waits_hears_when_it_is_reached(resizing) -> None:
    number = resizing.begin(10, 0)
    waiting = [await begun(resizing, number, 600) for _ in range(3)]
    resizing.observe(5, 5)
    await asyncio.sleep(1)
    assert not any(task.done() for task in waiting)
    resizing.observe(10, 10)
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert asyncio.get_running_loop().time() == 1


async def test_whoever_waits_hears_when_it_is_superseded(resizing) -> None:
    number = resizing.begin(10, 0)
    waiting = await begun(resizing, number, 600)
    resizing.begin(20, 0)
    assert await waiting
    assert asyncio.get_running_loop().time() == 0
    assert resizing.current.id != number


async def test_whoever_waits_in_vain_waits_as_long_as_he_said(resizing) -> None:
    number = resizing.begin(10, 0)
    assert not await resizing.wait(number, 30)
    assert asyncio.get_running_loop().time() == 30


async def test_progress_does_not_prolong_the_wait(resizing) -> None:
    number = resizing.begin(10, 0)
    waiting = await begun(resizing, number, 30)
    await asyncio.sleep(20)
    resizing.observe(5, 5)
    assert not await waiting
    assert asyncio.get_running_loop().time() == 30


async def test_waiting_for_no_time_looks_once(resizing) -> None:
    assert not await resizing.wait(resizing.begin(10, 0), 0)
    number = resizing.begin(10, 0)
    resizing.observe(10, 10)
    assert await resizing.wait(number, 0)


@pytest.mark.parametrize("number", [0, 1, 3])
async def test_nobody_waits_for_another_resize_than_the_current(resizing, number: int) -> None:
    resizing.begin(10, 0)
    resizing.begin(10, 0)
    assert await resizing.wait(number, 600)
    assert asyncio.get_running_loop().time() == 0


async def test_waiting_can_be_given_up(resizing) -> None:
    number = resizing.begin(10, 0)
    given_up, patient = await begun(resizing, number, 600), await begun(resizing, number, 600)
    given_up.cancel()
    await asyncio.sleep(0)
    assert given_up.cancelled()
    resizing.observe(10, 10)
    assert await patient
    assert not resizing._changed


async def test_a_resize_can_be_looked_up_when_it_is_over(resizing) -> None:
    first, second = resizing.begin(10, 0), resizing.begin(20, 5)
    resizing.observe(20, 20)
    third = resizing.begin(0, 20)
    assert [resize.id for resize in resizing] == [third, second, first]
    assert [resize.outcome for resize in resizing] == [None, Outcome.DONE, Outcome.SUPERSEDED]
    assert resizing.find(second).from_frames == 5
    assert resizing.find(7) is None


async def test_only_the_newest_are_remembered(resizing) -> None:
    for _ in range(REMEMBERED + 3):
        resizing.begin(10, 0)
    assert [resize.id for resize in resizing] == list(range(REMEMBERED + 3, 3, -1))


async def test_whoever_waits_hears_when_it_is_over_without_being_reached(resizing) -> None:
    number = resizing.begin(10, 0)
    waiting = await begun(resizing, number, 600)
    assert resizing.end(Outcome.EXPIRED).outcome is Outcome.EXPIRED
    assert await waiting
    assert resizing.observe(10, 10) is None
    assert not resizing.current.done


async def test_only_resizes_that_are_done_are_counted(resizing) -> None:
    resizing.begin(10, 0)
    await asyncio.sleep(2)
    resizing.observe(10, 10)
    resizing.begin(20, 10)
    resizing.end(Outcome.EXPIRED)
    assert resizing.durations_s.cumulative()[-1] == ("+Inf", 1)
    assert resizing.durations_s.sum == 2
