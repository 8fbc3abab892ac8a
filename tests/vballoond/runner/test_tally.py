import pytest

from vballoond.policy import Alert, Plan, Wish
from vballoond.policy.guard.decision import Decision
from vballoond.runner.acting import Acting
from vballoond.runner.rounds import Asked
from vballoond.runner.tally import Tally

WISHES = Plan((Wish("vm1", 5, "why"), Wish("vm2", 7.0, "why")))


def asked(plan: Plan | None = WISHES, error: str | None = None, *, name: str = "first", took_s: float = 0.2) -> Asked:
    return Asked(Acting(name), plan, error, took_s)


def decision(from_bytes: int, target_bytes: int) -> Decision:
    return Decision("vm1", from_bytes, target_bytes, target_bytes, "why")


def test_a_round_counts_with_its_time_and_its_wishes() -> None:
    tally = Tally()
    tally.acted(asked(), 100.0, (), ())
    assert (tally.acting.rounds, tally.acting.failed, tally.acting.last_at_s) == (1, 0, 100.0)
    assert dict(tally.acting.took_s.cumulative())["0.25"] == 1
    assert dict(tally.acting.took_s.cumulative())["0.1"] == 0
    assert (tally.newest_by, tally.wished_bytes) == ("first", {"vm1": 5, "vm2": 7})
    assert tally.shadow.rounds == 0


def test_only_targets_that_move_are_orders() -> None:
    tally = Tally()
    tally.acted(asked(), 1.0, [decision(0, 1), decision(0, 9), decision(9, 0), decision(4, 4)], ())
    assert (tally.inflations, tally.deflations) == (2, 1)


def test_alerts_are_those_of_the_newest_round() -> None:
    tally = Tally()
    tally.acted(asked(), 1.0, (), [Alert(None, "a"), Alert("vm1", "b"), Alert(None, "c", "info")])
    assert tally.alerts == {"warning": 2, "info": 1}
    tally.acted(asked(), 2.0, (), ())
    assert tally.alerts == {}


def test_a_failed_round_has_no_wishes() -> None:
    tally = Tally()
    tally.acted(asked(), 1.0, (), ())
    tally.acted(asked(None, "it raised"), 2.0, (), ())
    assert (tally.acting.rounds, tally.acting.failed, tally.wished_bytes) == (2, 1, {})


@pytest.mark.parametrize("nobody", [asked(None), asked(Plan(), name="static")], ids=["set aside", "never has a wish"])
def test_who_was_not_asked_is_not_counted(nobody: Asked) -> None:
    tally = Tally()
    tally.acted(nobody, 1.0, (), ())
    tally.shadowed(nobody, 1.0)
    assert tally.acting.rounds == tally.shadow.rounds == 0
    assert tally.acting.last_at_s is None


def test_a_shadow_counts_for_itself() -> None:
    tally = Tally()
    tally.shadowed(asked(None, "it raised"), 3.0)
    assert (tally.shadow.rounds, tally.shadow.failed, tally.shadow.last_at_s) == (1, 1, 3.0)
    assert (tally.acting.rounds, tally.wished_bytes) == (0, {})
