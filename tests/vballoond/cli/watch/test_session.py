import json
from typing import Any

import pytest
from rich.text import Text
from support.fake_daemon import balloon, resize

from vballoond.cli.client import Answer, ClientError, RefusedError, UnreachableError
from vballoond.cli.event_stream import Connected, Lost
from vballoond.cli.inbox import Failed, Inbox, Message
from vballoond.cli.server_sent_events import Event
from vballoond.cli.watch.session import FRAMES_PER_S, WatchSession

Q = Message("keys", "q")


class Script(Inbox):
    """An inbox that holds what is to happen; time passes while it is empty. What is asked is answered at once."""

    def __init__(self, *messages: Any) -> None:
        super().__init__()
        self.now_s = 0.0
        self.asked: list[str] = []
        self.answered_behind = 0
        self._messages = list(messages)

    def put(self, message: Any) -> None:
        self._messages.insert(self.answered_behind, message)

    def take(self, timeout_s: float) -> Any:
        if self._messages and not isinstance(self._messages[0], float):
            return self._messages.pop(0)
        if self._messages:  # so many seconds pass
            self._messages[0] -= timeout_s
            if self._messages[0] <= 0:
                self._messages.pop(0)
        self.now_s += timeout_s
        return None

    def follow(self, source: str, contents: Any) -> None:
        del contents
        self.asked.append(source)

    def ask(self, source: str, question: Any) -> None:
        self.asked.append(source)
        try:
            self.put(Message(source, question()))
        except ClientError as error:
            self.put(Failed(source, error))


class Daemon:
    """Stands in for a client: balloons as they are when they are asked for."""

    api = "unix:api.sock"
    timeout_s = 30.0

    def __init__(self) -> None:
        self.balloons = [balloon("vm1"), balloon("vm2")]
        self.statistics: dict[str, Any] | None = None
        self.asked: list[str] = []

    def get(self, path: str) -> Answer:
        self.asked.append(path)
        if path == "/v1/balloons":
            return Answer(200, json.dumps({"balloons": self.balloons}).encode())
        if path.endswith("/statistics"):
            if self.statistics is None:
                raise RefusedError(503, {})
            return Answer(200, json.dumps(self.statistics).encode())
        if "/frames?" in path:
            fields = {"x-first-frame": "0", "x-frame-count": "262144", "x-frame-scale": "512", "x-frame-version": "7"}
            return Answer(200, bytes([254]) * 512, fields)
        shown = [one for one in self.balloons if path == f"/v1/balloons/{one['name']}"]
        if not shown:
            raise RefusedError(404, {"detail": "there is no such balloon"})
        return Answer(200, json.dumps(shown[0]).encode())

    def stream(self, path: str, last_id: str) -> Any:
        raise NotImplementedError


class Screen:
    def __init__(self) -> None:
        self.drawn: list[str] = []

    def __call__(self, lines: list[Text]) -> None:
        self.drawn.append("\n".join(line.plain for line in lines))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def watch(daemon: Daemon, screen: Screen):
    """Runs a session through a script; returns it with its inbox."""

    def watch(*messages: Any, name: str | None = None) -> tuple[WatchSession, Script]:
        script = Script(*messages)
        session = WatchSession(daemon, name, lambda: (80, 24), screen, lambda: script.now_s, colour=False, inbox=script)
        session.begin()
        session.run()
        return session, script

    return watch


def happens(kind: str, name: str | None = "vm1", **data: Any) -> Message[object]:
    return Message("events", Event(kind, json.dumps({"at": "2026-01-02T03:04:05Z", "balloon": name, **data})))


def test_q_leaves(watch, screen) -> None:
    watch(Q)
    assert "vm1" in screen.drawn[0]


def test_other_keys_do_nothing(watch, screen) -> None:
    watch(Message("keys", "x"), 1.0, Q)
    assert len(screen.drawn) > 1


def test_what_happens_is_drawn(watch, screen) -> None:
    watch(happens("resize-begun", resize=resize()), 1.0, Q)
    assert "resize #1 to 512 MiB from 0 B" in screen.drawn[-1]


def test_however_much_happens_it_is_drawn_only_so_often(watch, screen) -> None:
    watch(*[happens("sizes", actual_bytes=number) for number in range(1000)], 0.5, Q)
    assert len(screen.drawn) == FRAMES_PER_S / 2 + 1


def test_curves_have_a_point_a_second(watch) -> None:
    session, _ = watch(10.5, Q)
    assert len(session.world.curves["vm1"]) == 11


def test_what_an_event_does_not_say_is_read_again(watch, daemon) -> None:
    _, script = watch(happens("balloon-added", "vm3"), 1.0, Q)
    assert script.asked == ["events", "reading"]
    assert daemon.asked == ["/v1/balloons"] * 2


def test_what_happens_while_it_is_read_is_read_once_more(daemon, screen) -> None:
    script = Script(happens("connected"), happens("state", state="running"), happens("negotiated", features=[]), 1.0, Q)
    script.answered_behind = 2
    session = WatchSession(daemon, None, lambda: (80, 24), screen, lambda: script.now_s, colour=False, inbox=script)
    session.begin()
    session.run()
    assert script.asked == ["events", "reading", "reading"]


def test_a_daemon_that_is_lost_is_said_until_it_answers(watch, daemon, screen) -> None:
    watch(Message("events", Lost("connection refused")), 1.0, Message("events", Connected()), 1.0, Q)
    lost = ["connection refused; it is tried again" in drawn for drawn in screen.drawn]
    assert True in lost
    assert not lost[-1]
    assert daemon.asked == ["/v1/balloons"] * 2


def test_a_reading_that_fails_is_not_the_end(watch) -> None:
    session, _ = watch(Failed("reading", UnreachableError("nobody")), 1.0, Q)
    assert list(session.world.balloons) == ["vm1", "vm2"]


def test_a_refusal_ends_it(watch) -> None:
    with pytest.raises(RefusedError, match="no longer"):
        watch(Failed("events", RefusedError(401, {"detail": "no longer"})))


@pytest.mark.parametrize("message", [Message("events", Event("state", "no JSON")), Message("of-the-future", 7)])
def test_what_is_not_understood_is_left(watch, screen, message) -> None:
    watch(message, Q)
    assert screen.drawn


def test_one_balloon_has_its_map_and_statistics(watch, daemon, screen) -> None:
    daemon.statistics = {"age_s": 1, "statistics": {"free_memory": 1 << 20}}
    _, script = watch(1.0, Q, name="vm1")
    assert script.asked == ["events", "map-1", "map-1"]
    assert "free_memory 1 MiB" in screen.drawn[-1]
    assert "a cell is 2 MiB" in screen.drawn[-1]
    assert "█" * 80 in screen.drawn[-1]


def test_a_balloon_that_is_gone_when_it_is_read_again_is_told(daemon, screen) -> None:
    def gone(lines: list[Text]) -> None:
        daemon.balloons = []
        screen(lines)

    script = Script(happens("state", state="waiting"), 1.0, Q)
    session = WatchSession(daemon, "vm1", lambda: (80, 24), gone, lambda: script.now_s, colour=False, inbox=script)
    session.begin()
    session.run()
    assert "there is no balloon 'vm1' any more" in screen.drawn[-1]


def test_a_balloon_that_is_not_there_is_an_error_at_once(watch) -> None:
    with pytest.raises(RefusedError, match="no such balloon"):
        watch(Q, name="vm9")


def test_once_draws_one_screen(daemon, screen) -> None:
    script = Script()
    WatchSession(daemon, "vm1", lambda: (80, 24), screen, lambda: 0.0, colour=False, inbox=script).once()
    (drawn,) = screen.drawn
    assert "█" * 80 in drawn
    assert script.asked == ["map-1", "map-1"]
