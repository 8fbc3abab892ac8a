from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from support.in_process_driver import driven

from vballoond.balloon.resize import STALL_AFTER_S, Outcome, Resize
from vballoond.service.stalls import GUESTS_OWN, SILENT_S, SLOW_TURN_S, find_stall

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Balloon:
    """What the reason is made from."""

    state_name: str = "running"
    broken_reason: str | None = None
    actual_frames: int = 0
    turn_s: float = 0.0
    unheard_s: float = 0.0

    def turn_lasts_s(self) -> float:
        return self.turn_s

    def silent_s(self) -> float:
        return self.unheard_s


def begun(target: int, actual: int = 0) -> Resize:
    return Resize.begin(1, target, actual, NOON, 0.0)


def code_of(resize: Resize | None, balloon: Balloon, now_s: float = 100.0) -> str | None:
    stall = find_stall(resize, balloon, now_s)
    return None if stall is None else stall.code


def test_nothing_stalls_without_a_resize() -> None:
    assert find_stall(None, Balloon(), 0.0) is None


@pytest.mark.parametrize("state", ["waiting", "paused", "broken", "running"])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_nothing_stalls_that_is_over(state: str, outcome: Outcome) -> None:
    assert find_stall(begun(5).end(outcome, 1.0), Balloon(state), 100.0) is None


@pytest.mark.parametrize(
    ("state", "code", "reason"),
    [
        ("waiting", "no-driver", "no driver: no guest with a balloon driver has connected"),
        ("paused", "paused", "the guest's queues are stopped: its VM is paused or its driver was removed"),
        ("broken", "broken", "broken by its driver: inflateq: nonsense"),
    ],
)
def test_a_resize_that_cannot_move_says_so_at_once(state: str, code: str, reason: str) -> None:
    stall = find_stall(begun(5), Balloon(state, "inflateq: nonsense"), 0.0)
    assert (stall.code, stall.sentence) == (code, reason)


def test_a_resize_that_moves_does_not_stall() -> None:
    resize = begun(50)
    for second in range(20):
        resize = resize.observe(second, second - 1, float(second))
        assert find_stall(resize, Balloon(unheard_s=99.0, turn_s=99.0), float(second)) is None


def test_a_guest_that_gives_nothing_more_stalls_after_a_while() -> None:
    assert code_of(begun(5), Balloon(), STALL_AFTER_S - 0.1) is None
    stall = find_stall(begun(5), Balloon(), STALL_AFTER_S)
    assert (stall.code, stall.sentence) == ("guest-out-of-memory", "the guest finds no more free memory to give")


def test_a_guest_that_takes_nothing_back_stalls_after_a_while() -> None:
    stall = find_stall(begun(5, 9), Balloon(actual_frames=9), 100.0)
    assert (stall.code, stall.sentence) == ("guest-slow", "the guest's driver does not take its memory back")


def test_a_driver_that_says_what_it_has_not_done_is_told_from_one_that_is_slow() -> None:
    stall = find_stall(begun(5), Balloon(actual_frames=5), 100.0)
    assert stall.code == "guest-slow"
    assert "has not inflated what it says" in stall.sentence


def test_a_guest_of_which_nothing_is_heard_is_not_out_of_memory() -> None:
    assert code_of(begun(5), Balloon(unheard_s=SILENT_S - 0.1)) == "guest-out-of-memory"
    assert code_of(begun(5), Balloon(unheard_s=SILENT_S)) == "guest-silent"


def test_a_request_that_is_under_way_for_long_is_the_host_s_fault_and_not_the_guest_s() -> None:
    assert code_of(begun(5), Balloon(turn_s=SLOW_TURN_S - 0.1, unheard_s=50.0)) == "guest-silent"
    assert code_of(begun(5), Balloon(turn_s=SLOW_TURN_S, unheard_s=50.0)) == "host-slow"


def test_what_only_the_guest_can_change_is_the_guest_s_own() -> None:
    assert {"guest-out-of-memory", "guest-slow"} == GUESTS_OWN


async def test_the_fake_balloon_has_what_the_real_one_has() -> None:
    async with driven() as (service, _):
        for name in ("state_name", "broken_reason", "actual_frames", "turn_lasts_s", "silent_s"):
            assert hasattr(service, name)
