import asyncio
import http.client
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import pytest
from support.fake_daemon import fake_daemon

from vballoond.cli.client import Client, RefusedError, UnreachableError
from vballoond.cli.connection import SILENCE_S
from vballoond.cli.event_stream import Connected, EventStream, Lost, Report
from vballoond.cli.server_sent_events import MAX_EVENT_BYTES, Event

GONE = UnreachableError("nobody answers")


class Daemon:
    """Stands in for a client: each connection is what it sends, piece by piece, and how it ends."""

    def __init__(self, *connections: list[bytes | Exception] | Exception) -> None:
        self.asked: list[str] = []
        self.paused_s: list[float] = []
        self.open = 0
        self._connections = list(connections)

    def open_at(self, last_id: str) -> Any:
        self.asked.append(last_id)
        connection = self._connections.pop(0)
        if isinstance(connection, Exception):
            raise connection
        self.open += 1
        return Body(connection, self)

    def pause(self, seconds: float) -> bool:
        self.paused_s.append(seconds)
        return not self._connections


class Body:
    def __init__(self, pieces: list[bytes | Exception], daemon: Daemon) -> None:
        self._pieces = list(pieces)
        self._daemon = daemon
        self.on_read: Callable[[], None] = lambda: None

    def read(self) -> bytes:
        self.on_read()
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self._pieces.clear()

    def release(self) -> None:
        self._daemon.open -= 1


def reports(daemon: Daemon, last_id: str = "") -> list[Report]:
    return list(EventStream(daemon.open_at, last_id, daemon.pause).reports())


def test_events_are_reported_as_they_come() -> None:
    daemon = Daemon([b"id: R-1\nevent: a\nda", b"ta: 1\n\n"])
    assert reports(daemon) == [Connected(), Event("a", "1", "R-1"), Lost("the daemon ended the connection")]
    assert (daemon.asked, daemon.open) == ([""], 0)


def test_after_a_break_it_goes_on_behind_the_last_whole_event() -> None:
    daemon = Daemon([b"id: R-1\ndata: 1\n\nid: R-2\ndata: half"], [b"id: R-2\ndata: 2\n\n"])
    assert [report for report in reports(daemon) if isinstance(report, Event)] == [
        Event("message", "1", "R-1"),
        Event("message", "2", "R-2"),
    ]
    assert daemon.asked == ["", "R-1"]


def test_it_begins_behind_the_event_that_is_named() -> None:
    daemon = Daemon([])
    reports(daemon, "R-7")
    assert daemon.asked == ["R-7"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("timed out"), "timed out"),
        (ConnectionResetError(), "the connection was cut off"),
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (http.client.IncompleteRead(b""), "the connection was cut off"),
        (ValueError("read of closed file"), "the connection was cut off"),
    ],
)
def test_a_connection_that_breaks_is_tried_again(error: Exception, reason: str) -> None:
    daemon = Daemon([error], [b"data: 1\n\n"])
    first, lost, again, event, _ = reports(daemon)
    assert (first, again, event) == (Connected(), Connected(), Event("message", "1"))
    assert isinstance(lost, Lost)
    assert lost.reason == reason
    assert daemon.open == 0


def test_what_is_no_stream_of_events_is_a_break() -> None:
    daemon = Daemon([b"x" * (MAX_EVENT_BYTES + 1)])
    assert [type(report) for report in reports(daemon)] == [Connected, Lost]


def test_between_tries_it_waits_as_long_as_the_daemon_says() -> None:
    daemon = Daemon([b"retry: 250\n\n"], GONE, [])
    assert Lost("nobody answers") in reports(daemon)
    assert daemon.paused_s == [0.25, 0.25, 0.25]


def test_nobody_at_the_very_first_is_an_error() -> None:
    with pytest.raises(UnreachableError, match="nobody answers"):
        reports(Daemon(GONE))


@pytest.mark.parametrize("before", [[], [[b"data: 1\n\n"]]], ids=["first", "later"])
def test_a_refusal_is_an_error_at_any_time(before: list[Any]) -> None:
    with pytest.raises(RefusedError, match="no such balloon"):
        reports(Daemon(*before, RefusedError(404, {"detail": "no such balloon"})))


def test_a_daemon_that_cannot_just_now_is_a_break() -> None:
    busy = RefusedError(503, {"detail": "starting"})
    assert reports(Daemon(busy, [])) == [Lost("starting"), Connected(), Lost("the daemon ended the connection")]


def test_closed_it_ends_without_a_word() -> None:
    daemon = Daemon([b"data: 1\n\n", b"data: 2\n\n"], [b"data: 3\n\n"])
    stream = EventStream(daemon.open_at, "")
    going = stream.reports()
    assert list(islice(going, 2)) == [Connected(), Event("message", "1")]
    stream.close()
    stream.close()
    assert list(going) == []
    assert (daemon.asked, daemon.open) == ([""], 0)


def test_closed_while_it_connects_it_ends() -> None:
    daemon = Daemon([b"data: 1\n\n"])

    def open_at(last_id: str) -> Any:
        body = daemon.open_at(last_id)
        stream.close()
        return body

    stream = EventStream(open_at)
    assert list(stream.reports()) == [Connected()]
    assert daemon.open == 0


async def test_closed_while_it_waits_for_the_daemon_it_ends() -> None:
    async with fake_daemon() as daemon:
        stream = EventStream(partial(Client(daemon.api).stream, "/v1/events"))
        reading = asyncio.create_task(asyncio.to_thread(lambda: list(stream.reports())))
        await daemon.tell("state", state="running")
        await daemon.until_asked("GET", "/v1/events")
        stream.close()
        async with asyncio.timeout(SILENCE_S - 5):
            reported = await reading
    assert not any(isinstance(report, Lost) for report in reported)


async def test_the_real_client_goes_on_behind_the_last_event() -> None:
    async with fake_daemon() as daemon:
        stream = EventStream(partial(Client(daemon.api).stream, "/v1/events"))
        reading = asyncio.create_task(asyncio.to_thread(lambda: list(islice(stream.reports(), 5))))
        await daemon.tell("state", state="running")
        await daemon.until_asked("GET", "/v1/events")
        await daemon.hang_up()
        await daemon.tell("state", state="paused")
        async with asyncio.timeout(60):
            reported = await reading
        assert [report.id for report in reported if isinstance(report, Event)] == ["R-1", "R-2"]
        stream.close()
