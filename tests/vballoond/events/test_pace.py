from collections.abc import Callable
from dataclasses import dataclass

from vballoond.events.pace import INTERVAL_S, Pace


@dataclass
class Handle:
    cancel: Callable[[], None]


class Rig:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.told: list[float] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.pace = Pace(lambda: self.told.append(self.now_s), lambda: self.now_s, self.call_later)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> "Handle":
        self.later.append((self.now_s + delay_s, call))
        return Handle(self.later.clear)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        due = [call for at_s, call in self.later if at_s <= self.now_s]
        self.later = [(at_s, call) for at_s, call in self.later if at_s > self.now_s]
        for call in due:
            call()


def test_the_first_change_is_told_at_once() -> None:
    rig = Rig()
    rig.pace.changed()
    assert rig.told == [100.0]


def test_many_changes_are_told_once_a_second_and_the_last_is_not_lost() -> None:
    rig = Rig()
    for _ in range(25):
        rig.pace.changed()
        rig.advance(0.125)
    rig.advance(INTERVAL_S)
    assert rig.told == [100.0, 101.0, 102.0, 103.0, 104.125]
    rig.advance(10)
    assert len(rig.told) == 5


def test_after_a_pause_a_change_is_told_at_once_again() -> None:
    rig = Rig()
    rig.pace.changed()
    rig.advance(5)
    rig.pace.changed()
    assert rig.told == [100.0, 105.0]


def test_what_is_to_be_told_later_is_not_told_before() -> None:
    rig = Rig()
    rig.pace.later()
    rig.pace.changed()
    assert rig.told == []
    rig.advance(INTERVAL_S)
    assert rig.told == [101.0]


def test_once_stopped_nothing_is_told_until_something_changes_again() -> None:
    rig = Rig()
    rig.pace.changed()
    rig.pace.changed()
    rig.pace.stop()
    rig.pace.stop()
    rig.advance(10)
    assert rig.told == [100.0]
    rig.pace.changed()
    assert rig.told == [100.0, 110.0]
