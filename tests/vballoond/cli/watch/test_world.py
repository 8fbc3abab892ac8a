from typing import Any

import pytest
from support.fake_daemon import MIB, balloon, resize

from vballoond.cli.balloon_event import BalloonEvent
from vballoond.cli.watch.world import MOST_EVENTS, MOST_POINTS, World


class Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def world(time: Time) -> World:
    world = World("unix:api.sock", time)
    world.read([balloon("vm1"), balloon("vm2")])
    return world


def event(kind: str, name: str | None = "vm1", **data: Any) -> BalloonEvent:
    return BalloonEvent(kind, "", "2026-01-02T03:04:05Z", name, data)


def test_sizes_are_taken_over_and_not_listed(world: World) -> None:
    assert world.take(event("sizes", actual_bytes=MIB, resident_bytes=None, unknown=7)) is False
    shown = world.balloons["vm1"]
    assert (shown["actual_bytes"], shown["resident_bytes"], "unknown" in shown) == (MIB, None, False)
    assert list(world.events) == []


def test_a_resize_is_followed(world: World) -> None:
    world.take(event("resize-begun", resize=resize()))
    world.take(event("sizes", actual_bytes=128 * MIB))
    assert world.balloons["vm1"]["target_bytes"] == 512 * MIB
    assert world.progress["vm1"].share == 0.25
    world.take(event("resize-begun", resize=resize(id=2, target_bytes=MIB)))
    assert (world.progress["vm1"].number, world.progress["vm1"].target_bytes) == (2, MIB)


def test_a_resize_that_was_read_is_followed_on(world: World) -> None:
    world.read([balloon("vm1", resize=resize(), actual_bytes=64 * MIB)])
    assert world.progress["vm1"].share == 0.125
    world.take(event("sizes", actual_bytes=128 * MIB))
    before = world.progress["vm1"]
    world.read([balloon("vm1", resize=resize())])
    assert world.progress["vm1"] == before


@pytest.mark.parametrize("kind", ["balloon-removed", "balloon-retired"])
def test_a_balloon_that_goes_is_gone(world: World, kind: str) -> None:
    assert world.take(event(kind)) is False
    assert list(world.balloons) == ["vm2"]
    assert [told.kind for told in world.events] == [kind]


@pytest.mark.parametrize("kind", ["balloon-added", "connected", "negotiated", "state", "broken", "events-lost"])
def test_what_an_event_does_not_say_is_to_be_read_again(world: World, kind: str) -> None:
    assert world.take(event(kind, "vm9")) is True


def test_statistics_grow_old(world: World, time: Time) -> None:
    assert world.take(event("statistics", statistics={"age_s": 0.5, "statistics": {}})) is False
    time.now_s += 2
    assert world.statistics["vm1"].age_s(time()) == 2.5


def test_curves_and_events_have_an_end(world: World) -> None:
    for _ in range(MOST_POINTS + MOST_EVENTS + 10):
        world.sample()
        world.take(event("state"))
    assert (len(world.curves["vm1"]), len(world.events)) == (MOST_POINTS, MOST_EVENTS)


def test_what_belongs_to_a_balloon_goes_with_it(world: World) -> None:
    world.take(event("resize-begun", resize=resize()))
    world.heard("vm1", {})
    world.sample()
    world.read([balloon("vm2")])
    assert (list(world.curves), dict(world.statistics), dict(world.progress)) == (["vm2"], {}, {})


@pytest.mark.parametrize("data", [{}, {"resize": 7}, {"resize": {}}, {"statistics": None}])
@pytest.mark.parametrize("kind", ["resize-begun", "statistics", "sizes", "of-the-future"])
def test_an_event_that_says_nothing_changes_nothing(world: World, kind: str, data: dict[str, Any]) -> None:
    before = {name: dict(shown) for name, shown in world.balloons.items()}
    world.take(event(kind, **data))
    assert world.balloons == before
