from dataclasses import dataclass, field

import pytest

from vballoond.clock import Clock
from vballoond.http.stalls import stall_reason
from vballoond.service.resizing import Resizing


@dataclass
class Time:
    now_s: float = 0.0


@dataclass
class Balloon:
    """What the reason is made from, at a time that the test sets."""

    time: Time = field(default_factory=Time)
    state_name: str = "running"
    broken_reason: str | None = None
    actual_frames: int = 0

    def __post_init__(self) -> None:
        self.resizing = Resizing(Clock(lambda: self.time.now_s))


@pytest.fixture
def balloon() -> Balloon:
    return Balloon()


def test_nothing_stalls_without_a_resize(balloon) -> None:
    assert stall_reason(balloon) is None


@pytest.mark.parametrize("state", ["waiting", "paused", "broken", "running"])
def test_nothing_stalls_that_is_done(balloon, state: str) -> None:
    balloon.resizing.begin(5, 0)
    balloon.resizing.observe(5, 5)
    balloon.state_name = state
    balloon.time.now_s = 100
    assert stall_reason(balloon) is None


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("waiting", "no driver: no guest with a balloon driver has connected"),
        ("paused", "the guest's queues are stopped: its VM is paused or its driver was removed"),
        ("broken", "broken by its driver: inflateq: nonsense"),
    ],
)
def test_a_resize_that_cannot_move_says_so_at_once(balloon, state: str, reason: str) -> None:
    balloon.resizing.begin(5, 0)
    balloon.state_name, balloon.broken_reason = state, "inflateq: nonsense"
    assert stall_reason(balloon) == reason


def test_a_resize_that_moves_does_not_stall(balloon) -> None:
    balloon.resizing.begin(5, 0)
    for second in range(20):
        balloon.time.now_s = second
        balloon.resizing.observe(second, second - 1)
        assert stall_reason(balloon) is None


def test_a_guest_that_gives_nothing_more_stalls_after_a_while(balloon) -> None:
    balloon.resizing.begin(5, 0)
    balloon.time.now_s = 3.9
    assert stall_reason(balloon) is None
    balloon.time.now_s = 4.1
    assert stall_reason(balloon) == "the guest finds no more free memory to give"


def test_a_guest_that_takes_nothing_back_stalls_after_a_while(balloon) -> None:
    balloon.resizing.begin(5, 9)
    balloon.actual_frames = 9
    balloon.time.now_s = 4.1
    assert stall_reason(balloon) == "the guest's driver does not take its memory back"


def test_the_fake_balloon_has_what_the_real_one_has(balloons, balloon) -> None:
    for name in vars(balloon).keys() - {"time"}:
        assert hasattr(balloons.demo, name)
