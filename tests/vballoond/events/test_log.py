import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from vballoond.events.log import MOST_BEHIND, REMEMBERED, Event, EventLog, SlowListenerError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def log() -> EventLog:
    return EventLog("run1", lambda: NOW)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    return [await anext(events) for _ in range(count)]


async def listening(log: EventLog, last_id: str | None = None) -> AsyncIterator[Event]:
    """A listener that has begun to listen."""
    events = log.listen(last_id)
    task = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)

    async def rest() -> AsyncIterator[Event]:
        yield await task
        async for event in events:
            yield event

    return rest()


async def test_a_listener_is_told_what_happens_from_then_on(log: EventLog) -> None:
    log.publish("before")
    events = await listening(log)
    log.publish("connected", "vm1", front_end="qemu")
    log.publish("done")
    assert await take(events, 2) == [
        Event("run1-2", "connected", NOW, "vm1", {"front_end": "qemu"}),
        Event("run1-3", "done", NOW),
    ]


async def test_every_listener_is_told(log: EventLog) -> None:
    first, second = await listening(log), await listening(log)
    log.publish("a")
    assert kinds(await take(first, 1)) == kinds(await take(second, 1)) == ["a"]


async def test_whoever_was_away_catches_up_from_the_last_id_it_saw(log: EventLog) -> None:
    for kind in "abcd":
        log.publish(kind)
    events = log.listen("run1-2")
    assert kinds(await take(events, 2)) == ["c", "d"]
    task = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    log.publish("e")
    assert (await task).kind == "e"


async def test_nothing_is_missed_between_catching_up_and_listening(log: EventLog) -> None:
    log.publish("a")
    events = log.listen("run1-0")
    assert kinds(await take(events, 1)) == ["a"]
    log.publish("b")
    assert kinds(await take(events, 1)) == ["b"]


@pytest.mark.parametrize("last_id", ["run0-1", "run1-99", "run1-x", "run1-", "", "-", "run1-²"])
async def test_an_id_that_is_not_of_this_run_is_told_that_events_are_lost_and_what_there_is(log, last_id: str) -> None:
    log.publish("a")
    log.publish("b")
    assert kinds(await take(log.listen(last_id), 3)) == ["events-lost", "a", "b"]


async def test_an_id_that_is_too_old_is_told_so(log: EventLog) -> None:
    for number in range(REMEMBERED + 10):
        log.publish(str(number))
    assert kinds(await take(log.listen("run1-10"), 1)) == ["10"]
    assert kinds(await take(log.listen("run1-9"), 2)) == ["events-lost", "10"]


async def test_the_id_of_a_loss_is_one_from_which_the_rest_follows(log: EventLog) -> None:
    assert [event.id for event in await take(log.listen("run0-5"), 1)] == ["run1-0"]


async def test_a_listener_that_is_too_far_behind_is_let_go(log: EventLog) -> None:
    events = await listening(log)
    for _ in range(MOST_BEHIND + 2):
        log.publish("a")
    with pytest.raises(SlowListenerError):
        await take(events, MOST_BEHIND + 2)


async def test_a_listener_that_has_gone_costs_nothing(log: EventLog) -> None:
    events = log.listen()
    task = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await events.aclose()
    assert not log._listeners


def test_an_event_is_written_once_in_one_line_with_times_as_the_api_writes_them() -> None:
    event = Event("run1-1", "done", NOW, "vm1", {"resize": {"ended_at": NOW, "text": "a\nb"}})
    at = "2026-01-02T03:04:05Z"
    assert json.loads(event.json) == {"at": at, "balloon": "vm1", "resize": {"ended_at": at, "text": "a\nb"}}
    assert "\n" not in event.json
    assert event.json is event.json


def test_what_is_no_plain_data_is_a_defect() -> None:
    with pytest.raises(TypeError, match="no plain data"):
        _ = Event("run1-1", "done", NOW, None, {"of": object()}).json
