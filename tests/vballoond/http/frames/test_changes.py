import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.api import Api
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE
from support.properties import examples
from support.virtual_time import JumpingLoop

from protocol.balloon.queues import QueueRole
from vballoond.balloon import map_changes
from vballoond.balloon.densities import Cells, densities
from vballoond.balloon.device import BalloonDevice
from vballoond.balloon.facts import MemoryKnown, Request
from vballoond.http.frames.changes import INTERVAL_S, Viewer
from vballoond.http.frames.query import Extent
from vballoond.http.server_sent import HEARTBEAT_S
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.offload import Offload

CHANGES = "/v1/balloons/demo/frames/changes"
SPACE = FrameSpace((FrameRange(3, 600), FrameRange(1030, 5000)))
END = 6030
ALL = Extent(None, None, 1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Event(NamedTuple):
    id: str
    kind: str
    data: dict[str, Any]


def parsed(text: str) -> Event:
    fields = dict(line.split(": ", 1) for line in text.strip().splitlines())
    return Event(fields["id"], fields["event"], json.loads(fields["data"]))


def in_virtual_time(coroutine: Coroutine) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(coroutine)


def made(space: FrameSpace = SPACE) -> BalloonDevice:
    device = BalloonDevice()
    device.handle(MemoryKnown(space))
    return device


def inflate(device: BalloonDevice, *frames: int) -> None:
    device.handle(Request(QueueRole.INFLATE, 0, pfns(frames), NOON))


def deflate(device: BalloonDevice, *frames: int) -> None:
    device.handle(Request(QueueRole.DEFLATE, 0, pfns(frames), NOON))


def viewer(device: BalloonDevice, extent: Extent = ALL, there=lambda: True) -> Viewer:
    return Viewer(device, Offload(), "run", extent, there)


async def take(events: AsyncGenerator[str], most: int = 1000, within_s: float = 2 * INTERVAL_S) -> list[Event]:
    """Take events until none comes for ``within_s``, which ends ``events``."""
    taken: list[Event] = []
    try:
        while len(taken) < most:
            async with asyncio.timeout(within_s):
                taken.append(parsed(await anext(events)))
    except TimeoutError:
        pass
    return taken


class Shown:
    """What a viewer makes of what it is told; 254 for held frames of a scale of 1."""

    def __init__(self, device: BalloonDevice, scale: int) -> None:
        self.scale = scale
        self.cells: dict[int, int] = {}
        self.read(device)

    def read(self, device: BalloonDevice) -> None:
        cells = Cells.over(FrameRange(0, device.frame_map.space.end), self.scale)
        found = densities(device.frame_map, cells).tolist()
        self.cells = dict(zip(range(0, cells.end, self.scale), found, strict=True))

    def hear(self, event: Event) -> None:
        assert event.kind == "changes"
        assert event.data["scale"] == self.scale
        for part in event.data.get("ranges", []):
            self.cells |= dict.fromkeys(range(part["first"], part["first"] + part["count"]), 254 * part["ballooned"])
        for first, text in event.data.get("cells", []):
            assert first % self.scale == 0
            self.cells |= {first + at * self.scale: cell for at, cell in enumerate(base64.b64decode(text))}


def test_a_change_is_told_as_what_there_is_now():
    async def scene():
        device = made()
        inflate(device, 5, 6, 1030)
        async with aclosing(viewer(device).events(device.frame_map.version)) as events:
            coming = asyncio.ensure_future(anext(events))
            await asyncio.sleep(3600)
            assert not coming.done()
            inflate(device, 7, 300)
            event = parsed(await coming)
            version = device.frame_map.version
            assert (event.id, event.kind) == (f"run-{version}", "changes")
            assert event.data == {
                "version": version,
                "scale": 1,
                "ranges": [
                    {"first": 3, "count": 2, "ballooned": False},
                    {"first": 5, "count": 3, "ballooned": True},
                    {"first": 8, "count": 292, "ballooned": False},
                    {"first": 300, "count": 1, "ballooned": True},
                    {"first": 301, "count": 211, "ballooned": False},
                ],
            }

    in_virtual_time(scene())


def test_a_change_is_told_as_densities_of_cells():
    async def scene():
        device = made()
        async with aclosing(viewer(device, Extent(None, None, 512)).events(device.frame_map.version)) as events:
            inflate(device, *range(1536, 2048), 5000)
            (event,) = await take(events)
            cells = [[first, list(base64.b64decode(text))] for first, text in event.data["cells"]]
            assert cells == [[1536, [254, 0, 0, 0, 0, 0, 1]]]  # near each other, so in one run
            assert event.data["scale"] == 512

    in_virtual_time(scene())


@examples(100)
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sets(st.integers(0, END), max_size=40), st.integers(1, 4)), min_size=1, max_size=12
    ),
    scale=st.sampled_from([1, 4, 256, 1024]),
    chunk=st.sampled_from([256, 1024]),
)
def test_a_viewer_that_is_cut_off_anywhere_and_comes_again_has_the_map_in_the_end(steps, scale, chunk):
    async def scene():
        device = made()
        shown, position = Shown(device, scale), device.frame_map.version
        for inserting, frames, most in steps:
            (inflate if inserting else deflate)(device, *frames)
            async with aclosing(viewer(device, Extent(None, None, scale)).events(position)) as events:
                for event in await take(events, most):
                    if event.kind == "changes":
                        shown.hear(event)
                    position = int(event.id.removeprefix("run-"))
                    assert event.data["version"] == position
        async with aclosing(viewer(device, Extent(None, None, scale)).events(position)) as events:
            for event in await take(events):
                if event.kind == "changes":
                    shown.hear(event)
        now = Shown(device, scale)
        # Where there is no memory nothing is told.
        assert {first: cell for first, cell in shown.cells.items() if cell != 255} == {
            first: cell for first, cell in now.cells.items() if cell != 255
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_changes, "CHUNK_CELLS", chunk)
        patch.setattr(map_changes, "MOST_CELLS", chunk)
        in_virtual_time(scene())


def test_many_changes_are_told_five_times_a_second_at_most_and_the_last_is_not_missed():
    async def scene():
        device = made()
        shown, times = Shown(device, 1), []
        loop = asyncio.get_running_loop()
        for number in range(100):
            loop.call_at(number * 0.01, inflate, device, 1100 + number)
        async with aclosing(viewer(device).events(device.frame_map.version)) as events:
            while (loop.time() < 1 + INTERVAL_S and device.frame_map.held_frames < 100) or not times:
                shown.hear(parsed(await anext(events)))
                times.append(loop.time())
            assert all(after - before > 0.99 * INTERVAL_S for before, after in pairwise(times))
            for event in await take(events):
                shown.hear(event)
            assert 4 <= len(times) <= 6
            assert shown.cells == Shown(device, 1).cells

    in_virtual_time(scene())


def test_a_viewer_sleeps_while_nothing_changes():
    async def scene():
        device, looked = made(), []

        def there() -> bool:
            looked.append(asyncio.get_running_loop().time())
            return True

        async with aclosing(viewer(device, there=there).events(device.frame_map.version)) as events:
            assert await take(events, within_s=3600) == []
        assert len(looked) <= 3600 / HEARTBEAT_S + 1

    in_virtual_time(scene())


def test_changes_outside_of_the_window_are_not_told():
    async def scene():
        device = made()
        async with aclosing(viewer(device, Extent(2000, 10, 1)).events(device.frame_map.version)) as events:
            inflate(device, 1700, 3000)
            assert await take(events) == []

    in_virtual_time(scene())


def test_of_a_window_only_its_frames_are_told():
    async def scene():
        device = made()
        async with aclosing(viewer(device, Extent(2000, 10, 1)).events(device.frame_map.version)) as events:
            inflate(device, *range(1990, 2003))
            (event,) = await take(events)
            assert event.data["ranges"] == [
                {"first": 2000, "count": 3, "ballooned": True},
                {"first": 2003, "count": 7, "ballooned": False},
            ]

    in_virtual_time(scene())


def test_a_viewer_of_another_map_is_told_to_read_again_and_then_of_changes():
    async def scene():
        device = made()
        inflate(device, 5)
        for position in (None, device.frame_map.born - 1, device.frame_map.version + 1_000_000):
            async with aclosing(viewer(device).events(position)) as events:
                (event,) = await take(events, most=1)
                version = device.frame_map.version
                assert event == Event(f"run-{version}", "reset", {"version": version})
                inflate(device, version % 500 + 10)
                (event,) = await take(events, most=1)
                assert event.kind == "changes"

    in_virtual_time(scene())


def test_other_memory_is_another_map():
    async def scene():
        device = made()
        async with aclosing(viewer(device).events(device.frame_map.version)) as events:
            inflate(device, 5)
            assert [event.kind for event in await take(events, most=1)] == ["changes"]
            device.handle(MemoryKnown(FrameSpace((FrameRange(0, 10),))))
            (event,) = await take(events, most=1)
            assert (event.kind, event.data["version"]) == ("reset", device.frame_map.version)

    in_virtual_time(scene())


def test_pages_of_the_balloon_that_move_are_told_as_that():
    async def scene():
        device = made()
        inflate(device, 5, 6, 7)
        since = device.frame_map.version
        inflate(device, 2000)
        deflate(device, 6)
        async with aclosing(viewer(device).events(since)) as events:
            moves, changes = await take(events)
        assert moves == Event(f"run-{since}", "migrations", {"version": since, "migrations": [[6, 2000]], "total": 1})
        assert (changes.kind, changes.id) == ("changes", f"run-{device.frame_map.version}")
        async with aclosing(viewer(device).events(device.frame_map.version)) as events:
            assert await take(events) == []
        for window, told in ((Extent(2000, 1, 1), True), (Extent(6, 1, 1), True), (Extent(4000, 9, 1), False)):
            async with aclosing(viewer(device, window).events(since)) as events:
                assert ("migrations" in [event.kind for event in await take(events)]) == told

    in_virtual_time(scene())


def test_the_scale_follows_the_memory_where_it_is_automatic():
    async def scene():
        device = made(FrameSpace((FrameRange(0, 1 << 22),)))
        async with aclosing(viewer(device, Extent(None, None, None)).events(device.frame_map.version)) as events:
            inflate(device, 8)
            (event,) = await take(events)
            assert event.data["scale"] == 4

    in_virtual_time(scene())


def test_a_large_change_comes_in_pieces_of_which_the_last_alone_is_a_new_position():
    async def scene():
        device = made(FrameSpace((FrameRange(0, 1 << 20),)))
        since = device.frame_map.version
        for first in range(0, 1 << 20, 4096):
            inflate(device, *range(first, first + 4096))
        async with aclosing(viewer(device).events(since)) as events:
            told = await take(events)
        assert len(told) == (1 << 20) // map_changes.CHUNK_CELLS
        assert [event.id for event in told[:-1]] == [f"run-{since}"] * (len(told) - 1)
        assert told[-1].id == f"run-{device.frame_map.version}"
        assert sum(part["count"] for event in told for part in event.data["ranges"]) == 1 << 20

    in_virtual_time(scene())


def test_the_stream_ends_when_the_balloon_is_gone_and_nobody_is_watched():
    async def scene():
        device, there = made(), [True]
        texts = viewer(device, there=lambda: there[0]).events(device.frame_map.version)
        asyncio.get_running_loop().call_later(100, there.clear)
        asyncio.get_running_loop().call_later(100, there.append, False)
        assert [text async for text in texts] == []
        assert asyncio.get_running_loop().time() <= 100 + HEARTBEAT_S
        assert not device._watchers

    in_virtual_time(scene())


def test_ranges_of_a_guest_of_a_tebibyte_are_read_where_they_changed():
    async def scene():
        device = made(FrameSpace((FrameRange(0, 1 << 28),)))
        since = device.frame_map.version
        inflate(device, 1 << 27)
        async with aclosing(viewer(device, Extent(None, None, 512)).events(since)) as events:
            (event,) = await take(events)
        assert event.data["cells"] == [[1 << 27, base64.b64encode(bytes([1])).decode()]]
        assert np.count_nonzero(device.frame_map.blocks.held) == 1

    in_virtual_time(scene())


# Over HTTP.


@pytest.fixture
async def holding(api: Api, balloons) -> Api:
    balloons.driver.load(INFLATE, DEFLATE)
    balloons.driver.request(INFLATE, pfns(range(2000, 2010)))
    await settled(balloons.demo)
    return api


async def first_events(api: Api, path: str, count: int, headers: dict[str, str] | None = None) -> list[Event]:
    """The first events of a stream, which is left then."""
    found: list[Event] = []
    async with api._session.get(path, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream"), await answer.text()
        assert await answer.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        while len(found) < count:
            found.append(parsed((await answer.content.readuntil(b"\n\n")).decode()))
    return found


async def test_the_stream_goes_on_from_what_was_read(holding, balloons):
    read = await holding.ask("GET", "/v1/balloons/demo/frames?format=density")
    since = read.headers["X-Frame-Version"]
    balloons.driver.request(DEFLATE, pfns([2003]))
    await settled(balloons.demo)
    (event,) = await first_events(holding, f"{CHANGES}?since={since}&first=2000&count=10", 1)
    assert event.kind == "changes"
    assert [part["count"] for part in event.data["ranges"]] == [3, 1, 6]
    (again,) = await first_events(holding, f"{CHANGES}?first=2000&count=10&since={since}", 1)
    assert again == event


async def test_a_viewer_that_comes_again_goes_on_from_its_last_event(holding, balloons):
    start = (await holding.get("/v1/balloons/demo/frames"))["version"]
    run = (await first_events(holding, CHANGES, 1, {"Last-Event-ID": "other-1"}))[0].id.partition("-")[0]
    balloons.driver.request(DEFLATE, pfns([2003]))
    await settled(balloons.demo)
    for headers, query in (
        ({"Last-Event-ID": f"{run}-{start}"}, ""),
        ({"Last-Event-ID": f"{run}-{start}"}, "?since=1"),
        ({}, f"?since={run}-{start}"),
    ):
        (event,) = await first_events(holding, CHANGES + query, 1, headers)
        assert (event.kind, event.id) == ("changes", f"{run}-{balloons.demo.device.frame_map.version}")


@pytest.mark.parametrize("last_id", ["other-5", "", "5", "-", "x-y", "run-", "run-99999999999999999999", "run-٣"])
async def test_a_viewer_with_an_id_of_no_version_reads_again(holding, last_id):
    headers = {"Last-Event-ID": last_id}
    assert [event.kind for event in await first_events(holding, CHANGES, 1, headers)] == ["reset"]


async def test_a_version_of_another_run_is_none_of_this(holding, balloons):
    version = balloons.demo.device.frame_map.version
    (event,) = await first_events(holding, f"{CHANGES}?since=other-{version}", 1)
    assert event.kind == "reset"


@pytest.mark.parametrize("query", ["since=x", "since=", "since=-", "since=1.5", "since=999999999999999999999"])
async def test_a_position_that_is_none_is_refused(api, query):
    await api.refused("GET", f"{CHANGES}?{query}", 400, "bad-query")


@pytest.mark.parametrize("query", ["first=x", "count=-1", "scale=3"])
async def test_a_window_that_is_none_is_refused(api, query):
    await api.refused("GET", f"{CHANGES}?{query}", 400, "bad-query")


async def test_of_a_balloon_that_is_not_there_nothing_is_told(api):
    await api.refused("GET", "/v1/balloons/none/frames/changes", 404, "no-such-balloon")
