import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from vballoond.events.log import MOST_BEHIND, EventLog
from vballoond.http import server_sent
from vballoond.http.app import build_app
from vballoond.offload import Offload

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def log() -> EventLog:
    return EventLog("run", lambda: NOW)


@pytest.fixture
async def client(balloons, log: EventLog, aiohttp_client) -> Any:
    return await aiohttp_client(build_app(balloons.registry, Offload(), events=log))


@asynccontextmanager
async def reading(client: Any, query: str = "", last_id: str | None = None) -> AsyncIterator[Any]:
    """A reader that has read what every stream begins with."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with client.get(f"/v1/events{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert await paragraph(response) == ["retry: 1000"]
        yield response


async def paragraph(response: Any) -> list[str]:
    """The lines up to the next empty one."""
    lines = []
    while line := (await response.content.readline()).decode().rstrip("\n"):
        lines.append(line)
    return lines


async def listened_to(log: EventLog, listeners: int = 1) -> None:
    while len(log._listeners) < listeners:  # noqa: ASYNC110 (nothing says so; the loop turns at once)
        await asyncio.sleep(0)


async def test_events_come_with_an_id_a_kind_and_their_particulars(client, log) -> None:
    async with reading(client) as response:
        await listened_to(log)
        log.publish("connected", "vm1", extra=1)
        lines = await paragraph(response)
    assert lines[:2] == ["id: run-1", "event: connected"]
    data = json.loads(lines[2].removeprefix("data: "))
    assert data == {"at": "2026-01-02T03:04:05Z", "balloon": "vm1", "extra": 1}


async def test_whoever_was_away_is_told_what_it_missed(client, log) -> None:
    for kind in "abc":
        log.publish(kind)
    async with reading(client, last_id="run-1") as response:
        assert [(await paragraph(response))[:2] for _ in range(2)] == [
            ["id: run-2", "event: b"],
            ["id: run-3", "event: c"],
        ]


@pytest.mark.parametrize("last_id", ["other-5", "x" * 4000 + "-1", "run-99", "run-" + "1" * 4000])
async def test_whoever_cannot_be_told_everything_is_told_so(client, log, last_id: str) -> None:
    log.publish("a")
    async with reading(client, last_id=last_id) as response:
        assert (await paragraph(response))[1] == "event: events-lost"
        assert (await paragraph(response))[1] == "event: a"


async def test_of_one_balloon_only_its_own_and_what_is_of_all_is_told(client, log) -> None:
    async with reading(client, "?balloon=vm1") as response:
        await listened_to(log)
        log.publish("a", "vm2")
        log.publish("b", "vm1")
        log.publish("c")
        assert [(await paragraph(response))[1] for _ in range(2)] == ["event: b", "event: c"]


async def test_a_reader_that_is_too_far_behind_is_cut_off_and_others_are_not(client, log, monkeypatch) -> None:
    gate = asyncio.Event()
    plain = server_sent._write
    slow: list[Any] = []

    async def writes(response: Any, text: str) -> None:
        if not slow:
            slow.append(response)
        elif response is slow[0]:
            await gate.wait()
        await plain(response, text)

    monkeypatch.setattr(server_sent, "_write", writes)
    async with reading(client) as stuck, reading(client) as quick:
        await listened_to(log, 2)
        for number in range(MOST_BEHIND + 3):
            log.publish(str(number))
            assert (await paragraph(quick))[1] == f"event: {number}"
        gate.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await stuck.content.read()


async def test_a_stream_that_its_reader_leaves_costs_nothing(client, log) -> None:
    async with reading(client):
        await listened_to(log)
    while log._listeners:
        log.publish("a")
        await asyncio.sleep(0)


async def test_what_a_balloon_comes_to_is_told_on_the_stream(balloons, log, client) -> None:
    balloons.demo.telling._events = log
    async with reading(client, "?balloon=demo") as response:
        await listened_to(log)
        answer = await client.patch("/v1/balloons/demo", json={"target_mib": 1})
        assert answer.status == 202
        lines = await paragraph(response)
        begun = json.loads(lines[2].removeprefix("data: "))
        assert lines[1] == "event: resize-begun"
        assert begun["resize"].keys() == (await answer.json())["resize"].keys()
