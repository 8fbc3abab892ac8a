import json
import threading
from typing import Any

import pytest
from support.fake_daemon import MIB, resize

from vballoond.cli.client import Answer, ClientError, RefusedError
from vballoond.cli.event_stream import Connected, Lost, Report
from vballoond.cli.inbox import Inbox
from vballoond.cli.resize_display import NoDisplay
from vballoond.cli.resize_progress import ResizeProgress
from vballoond.cli.resize_wait import ResizeWait
from vballoond.cli.server_sent_events import Event

ANSWER = Answer(200, b"{}")


class Display(NoDisplay):
    def __init__(self) -> None:
        self.shown: list[ResizeProgress] = []

    def show(self, progress: ResizeProgress) -> None:
        self.shown.append(progress)


class Stream:
    """Stands in for the stream of events: what it reports, and then the request may be answered."""

    def __init__(self, *reports: Report | Exception) -> None:
        self.reported = threading.Event()
        self.closed = False
        self._reports = reports

    def reports(self):
        try:
            for report in self._reports:
                if isinstance(report, Exception):
                    raise report
                yield report
        finally:
            self.reported.set()

    def close(self) -> None:
        self.closed = True

    def answer(self) -> Answer:
        assert self.reported.wait(60)
        return ANSWER


def event(kind: str, **data: Any) -> Event:
    return Event(kind, json.dumps({"at": "2026-01-02T03:04:05Z", "balloon": "vm1", **data}))


@pytest.fixture
def display() -> Display:
    return Display()


@pytest.fixture
def waiting(display: Display) -> ResizeWait:
    return ResizeWait(ResizeProgress("vm1", 512 * MIB), display)


BEGUN = event("resize-begun", resize=resize())
SIZES = event("sizes", actual_bytes=256 * MIB)


def test_events_are_shown_until_the_request_is_answered(waiting, display) -> None:
    stream = Stream(Connected(), BEGUN, SIZES)
    assert waiting.run(stream, stream.answer) == ANSWER
    assert waiting.progress.share == 0.5
    assert display.shown[-1] == waiting.progress
    assert stream.closed


def test_the_request_is_sent_once_events_come_or_cannot(display) -> None:
    class Noting(Inbox):
        heard = False

        def take(self, timeout_s: float) -> Any:
            del timeout_s
            message = super().take(60)
            self.heard = self.heard or message is not None
            return message

    inbox = Noting()

    def request() -> Answer:
        assert inbox.heard
        return ANSWER

    assert ResizeWait(ResizeProgress("vm1", 512 * MIB), display, inbox).run(Stream(Connected()), request) == ANSWER


@pytest.mark.parametrize(
    "stream",
    [
        Stream(RefusedError(404, {"detail": "an older daemon"})),
        Stream(Connected(), Lost("broken"), Event("sizes", "no JSON")),
        Stream(ClientError("nobody")),
    ],
)
def test_without_events_the_outcome_is_the_same(waiting, stream: Stream) -> None:
    assert waiting.run(stream, stream.answer) == ANSWER


def test_a_request_that_fails_is_the_outcome(waiting) -> None:
    stream = Stream(Connected(), BEGUN)

    def refused() -> Answer:
        stream.answer()
        raise RefusedError(409, {"detail": "another came", "code": "superseded"})

    with pytest.raises(RefusedError, match="another came"):
        waiting.run(stream, refused)
    assert stream.closed
    assert waiting.progress.number == 1
