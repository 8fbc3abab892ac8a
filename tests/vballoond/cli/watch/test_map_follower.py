import base64
import json
from typing import Any

import pytest

from vballoond.cli.client import ClientError
from vballoond.cli.event_stream import Connected
from vballoond.cli.inbox import Failed, Inbox, Message
from vballoond.cli.server_sent_events import Event
from vballoond.cli.watch.frame_cells import FrameCells
from vballoond.cli.watch.map_follower import MapFollower


class Asking(Inbox):
    """An inbox that only notes who was to be asked or followed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.followed: list[str] = []

    def ask(self, source: str, question: Any) -> None:
        del question
        self.asked.append(source)

    def follow(self, source: str, contents: Any) -> None:
        del contents
        self.followed.append(source)


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class NoClient:
    def stream(self, path: str, last_id: str) -> Any:
        raise NotImplementedError


@pytest.fixture
def inbox() -> Asking:
    return Asking()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def follower(inbox: Asking, time: Time) -> MapFollower:
    return MapFollower(NoClient(), "vm1", inbox, time)


def cells(scale: int = 4) -> FrameCells:
    return FrameCells(0, 64, scale, "7", bytearray(64 // scale))


def change(kind: str, source: str = "map-1", **data: Any) -> Message[object]:
    return Message(source, Event(kind, json.dumps(data)))


def following(follower: MapFollower) -> FrameCells:
    follower.fit(16, 64)
    read = cells()
    follower.take(Message("map-1", read))
    return read


def test_a_map_is_read_once_and_then_followed(follower, inbox) -> None:
    follower.fit(16, 64)
    follower.fit(16, 64)
    assert (inbox.asked, inbox.followed) == (["map-1"], [])
    follower.take(Message("map-1", cells()))
    follower.take(Message("map-1", Connected()))
    follower.fit(16, 64)
    assert (inbox.asked, inbox.followed) == (["map-1"], ["map-1"])


def test_changes_are_taken_over(follower) -> None:
    read = following(follower)
    assert follower.take(change("changes", scale=4, cells=[[8, base64.b64encode(b"\1\2").decode()]]))
    follower.take(change("migrations", total=5))
    follower.take(change("migrations", total=7))
    assert (list(read.cells[:5]), read.migrated) == ([0, 0, 1, 2, 0], 7)


@pytest.mark.parametrize("event", [change("reset"), change("changes", scale=8, cells=[]), change("changes")])
def test_a_map_that_is_another_is_read_again(follower, inbox, event) -> None:
    read = following(follower)
    follower.take(event)
    assert inbox.asked == ["map-1", "map-2"]
    assert follower.shown is read


def test_what_a_former_attempt_says_is_not_listened_to(follower) -> None:
    following(follower)
    follower.take(change("reset"))
    fresh = cells()
    follower.take(Message("map-2", fresh))
    assert follower.take(Failed("map-1", ClientError("gone")))
    assert follower.take(change("changes", scale=4, cells=[[0, "/w=="]]))
    assert follower.shown is fresh
    assert not any(fresh.cells)


@pytest.mark.parametrize(("capacity", "again"), [(16, False), (31, False), (32, True), (15, True), (0, False)])
def test_a_terminal_of_another_size_reads_it_in_other_cells(follower, inbox, capacity: int, again: bool) -> None:
    following(follower)
    follower.fit(capacity, 64)
    assert (len(inbox.asked) == 2) is again


def test_a_daemon_that_answers_slower_than_the_screen_is_drawn_is_heard_all_the_same(follower, inbox) -> None:
    following(follower)
    for _ in range(20):
        follower.fit(8, 64)  # drawn again and again before there is an answer
    assert inbox.asked == ["map-1", "map-2"]
    follower.fit(4, 64)  # the terminal changes once more meanwhile
    follower.take(Message("map-2", cells(8)))
    follower.fit(4, 64)
    assert inbox.asked == ["map-1", "map-2", "map-3"]
    follower.take(Message("map-3", cells(16)))
    follower.fit(4, 64)
    assert follower.shown == cells(16)


def test_a_map_that_cannot_be_had_is_said_and_tried_again_later(follower, inbox, time) -> None:
    follower.fit(16, 64)
    follower.take(Failed("map-1", ClientError("the guest is gone")))
    assert follower.shown == "no map: the guest is gone"
    follower.fit(16, 64)
    assert inbox.asked == ["map-1"]
    time.now_s += 5
    follower.fit(16, 64)
    assert inbox.asked == ["map-1", "map-2"]


def test_a_defect_is_no_missing_map(follower) -> None:
    follower.fit(16, 64)
    with pytest.raises(ZeroDivisionError):
        follower.take(Failed("map-1", ZeroDivisionError()))


def test_what_is_for_others_is_left(follower) -> None:
    assert follower.take(Message("events", Connected())) is False
