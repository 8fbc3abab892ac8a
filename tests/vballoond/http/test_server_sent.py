import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine
from unittest import mock

import pytest
from aiohttp import StreamReader, web
from aiohttp.test_utils import make_mocked_request
from support.virtual_time import JumpingLoop

from vballoond.http import server_sent
from vballoond.http.problems import answer_problems
from vballoond.http.server_sent import (
    HEARTBEAT_S,
    PATIENCE_S,
    STREAMS,
    SlowReaderError,
    allow_streams,
    send_events,
    to_text,
    with_heartbeat,
)


class Source:
    """Events that a test hands out; knows whether whoever took them has closed it."""

    def __init__(self, *texts: str, error: Exception | None = None, ends: bool = True) -> None:
        self.texts = texts
        self.error = error
        self.ends = ends
        self.closed = False

    async def events(self) -> AsyncGenerator[str]:
        try:
            for text in self.texts:
                yield text
            if self.error is not None:
                raise self.error
            if not self.ends:
                await asyncio.get_running_loop().create_future()
        finally:
            self.closed = True


def in_virtual_time(coroutine: Coroutine) -> object:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)


# Texts.


def test_an_event_is_three_lines_and_an_empty_one():
    assert to_text("sizes", {"held": 1}, "a1-7") == 'id: a1-7\nevent: sizes\ndata: {"held":1}\n\n'


def test_an_event_may_have_no_id_and_be_json_already():
    assert to_text("sizes", '{"held":1}') == 'event: sizes\ndata: {"held":1}\n\n'


def test_a_line_break_in_a_value_breaks_no_line():
    text = to_text("state", {"reason": "one\ntwo\r\x0b"})
    assert len(text.splitlines()) == 3
    assert json.loads(text.splitlines()[1].removeprefix("data: ")) == {"reason": "one\ntwo\r\x0b"}


# Heartbeats.


async def _heard(source: Source, until_s: float) -> list[tuple[float, str]]:
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    loop.call_later(until_s, ending.set)
    return [(loop.time(), piece) async for piece in with_heartbeat(source.events(), ending)]


def test_where_no_event_comes_there_is_a_heartbeat():
    heard = in_virtual_time(_heard(Source("one", ends=False), 3.5 * HEARTBEAT_S))
    assert heard == [(0, "one"), *((beat * HEARTBEAT_S, ": \n\n") for beat in (1, 2, 3))]


def test_a_stream_ends_with_its_events():
    assert in_virtual_time(_heard(Source("one", "two"), 3600)) == [(0, "one"), (0, "two")]


# Readers that do not read.


class StuckWriter:
    """What a connection is whose buffers are full: from ``most`` pieces on nothing is taken."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[bytes] = []
        self.output_size = 0
        self.length = None

    async def write(self, chunk: bytes) -> None:
        if len(self.taken) >= self.most:
            await asyncio.get_running_loop().create_future()
        self.taken.append(bytes(chunk))

    async def write_headers(self, *_: object) -> None: ...

    def send_headers(self) -> None: ...

    def enable_chunking(self) -> None: ...

    async def write_eof(self, chunk: bytes = b"") -> None: ...

    async def drain(self) -> None: ...


async def _sent(source: Source, most: int) -> tuple[StuckWriter, mock.Mock, float, int]:
    app = web.Application()
    allow_streams(app)
    writer, transport = StuckWriter(most), mock.Mock()
    request = make_mocked_request("GET", "/", app=app, writer=writer, transport=transport)
    await send_events(request, source.events())
    return writer, transport, asyncio.get_running_loop().time(), app[STREAMS].open


def test_a_reader_that_takes_nothing_for_long_is_cut_off():
    source = Source(*map(str, range(10)), ends=False)
    writer, transport, at_s, still_open = in_virtual_time(_sent(source, 3))
    assert writer.taken == [b"retry: 1000\n\n", b"0", b"1"]
    assert at_s == PATIENCE_S
    transport.abort.assert_called_once_with()
    assert source.closed
    assert still_open == 0


def test_a_reader_that_is_said_to_be_slow_is_cut_off():
    source = Source("one", error=SlowReaderError("behind"))
    writer, transport, at_s, _ = in_virtual_time(_sent(source, 99))
    assert (writer.taken[1:], at_s) == ([b"one"], 0)
    transport.abort.assert_called_once_with()


def test_a_reader_that_takes_all_is_not_cut_off():
    writer, transport, _, still_open = in_virtual_time(_sent(Source("one", "two"), 99))
    assert writer.taken[1:] == [b"one", b"two"]
    transport.abort.assert_not_called()
    assert still_open == 0


# Over HTTP.


@pytest.fixture
def streaming(aiohttp_client):
    """An application that streams ``source`` at /."""

    async def make(source: Source):
        app = web.Application(middlewares=[answer_problems])
        allow_streams(app)

        async def stream(request: web.Request) -> web.StreamResponse:
            return await send_events(request, source.events())

        app.router.add_get("/", stream)
        return await aiohttp_client(app)

    return make


async def test_events_come_as_an_event_stream_that_nobody_stores(streaming):
    client = await streaming(Source(to_text("a", {}, "r-1")))
    async with client.get("/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.text() == "retry: 1000\n\nid: r-1\nevent: a\ndata: {}\n\n"


async def test_a_head_request_gets_no_events(streaming):
    source = Source("one", ends=False)
    client = await streaming(source)
    async with client.head("/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")


async def test_there_is_a_most_of_streams(streaming, monkeypatch):
    monkeypatch.setattr(server_sent, "MAX_STREAMS", 1)
    client = await streaming(Source("one\n", ends=False))
    async with client.get("/") as first:
        await first.content.readline()
        async with client.get("/") as second:
            assert (second.status, (await second.json())["code"]) == (503, "too-many-streams")


async def test_streams_end_with_the_application(streaming):
    source = Source("one\n", ends=False)
    client = await streaming(source)
    async with client.get("/") as answer:
        reader: StreamReader = answer.content
        await reader.readline()
        await client.app.shutdown()
        assert (await reader.read()).endswith(b"one\n")
    assert source.closed
