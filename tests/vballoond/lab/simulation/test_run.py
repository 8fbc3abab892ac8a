from dataclasses import replace

import pytest
from support.simulation import HOST, MIB, SMALL, a_scenario, simulated

from vballoond.lab.simulation import run as run_module
from vballoond.lab.simulation.chosen_policy import ChosenPolicy, choose
from vballoond.lab.simulation.promises import BrokenRuleError
from vballoond.lab.simulation.result import read_result


def script(body: str) -> ChosenPolicy:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    source = (
        "from vballoond.policy import Plan, Policy, Wish\n"
        f"class Mine(Policy):\n    name = 'mine'\n    def plan(self, view, settings):\n{lines}\n"
    )
    return ChosenPolicy("mine", file="mine.py", source=source)


TAKE = script("return Plan(tuple(Wish.balloon(guest, 12 << 20, 'test') for guest in view.able))")


def test_the_same_seed_gives_the_same_numbers_and_decisions() -> None:
    jobs = SMALL + '[[guest.load]]\nkind = "job"\nmin_mib = 1\nmax_mib = 8\ngrows_for_s = 5\n'
    first, again, other = simulated(jobs, seed=1), simulated(jobs, seed=1), simulated(jobs, seed=2)
    assert first == again
    assert first.measures.orders > 0
    assert other.decisions != first.decisions
    assert other.curve != first.curve


def test_a_policy_that_takes_saves_what_its_balloons_hold() -> None:
    none, taken = simulated(policy="static"), simulated(policy=TAKE)
    assert none.measures.saved_mean_bytes == none.measures.orders == 0
    assert taken.curve[-1].held_bytes == taken.curve[-1].target_bytes == 3 * 12 * MIB
    assert taken.measures.resident_mean_bytes < none.measures.resident_mean_bytes
    assert taken.measures.below_reserve_s < 10 < none.measures.below_reserve_s
    assert taken.measures.saved_gib_s == pytest.approx(taken.measures.saved_mean_bytes * 120 / (1 << 30), rel=0.01)


def test_results_cross_as_json() -> None:
    result = simulated()
    assert read_result(result.text()) == result


def test_new_guests_are_left_alone_while_they_boot() -> None:
    curve = simulated(policy=TAKE).curve
    assert [point.at_s for point in curve if point.target_bytes == 0] == [10.0, 20.0, 30.0]


def test_direction_changes_are_counted_for_each_guest() -> None:
    text = SMALL.replace("[guard]", "[guard]\ntake_after_give_s = 0\ngive_after_take_s = 0\nnew_for_s = 0")
    swing = script(
        "size = 4 + 8 * (int(view.now_s) // 10 % 2)\n"
        "return Plan(tuple(Wish.balloon(guest, size << 20, 'test') for guest in view.able[:1]))"
    )
    measures = simulated(text, swing).measures
    assert (measures.turns, measures.most_turns) == (11, 11)
    calm = simulated(SMALL, swing).measures
    assert calm.turns < 4


def test_a_policy_that_fails_changes_nothing_is_counted_and_set_aside() -> None:
    result = simulated(policy=script("raise RuntimeError('no')"))
    assert result.measures.policy_failures == 3
    assert result.measures.orders == 0
    (problem,) = result.problems
    assert "RuntimeError: no" in problem


def test_a_broken_promise_is_told_with_guest_time_and_numbers() -> None:
    promise = "[promise]\nreserve_kept = true\nmost_turns = 0\nmost_oom_kills = 0\n"
    hog = '[[guest.load]]\nkind = "hog"\nmib_per_s = 2\nstart_s = 20\n'
    broken = simulated(SMALL + hog + promise, "static").broken
    assert len(broken) == 2
    assert broken[0].startswith("at ")
    assert "below its reserve of 8 MiB: guests take" in broken[0]
    assert "programs were killed, most in guest vm-" in broken[1]
    roomy = SMALL.replace('"96MiB"', '"128MiB"')
    assert not simulated(roomy + promise, TAKE).broken


def test_a_target_that_does_not_settle_is_told() -> None:
    text = SMALL.replace("[guard]", "[guard]\ntake_after_give_s = 0\ngive_after_take_s = 0\nnew_for_s = 0")
    swing = script(
        "size = 4 + 8 * (int(view.now_s) // 10 % 2)\nreturn Plan((Wish.balloon(view.guests[1], size << 20, 'test'),))"
    )
    assert simulated(text + "[promise]\nmost_turns = 3\n", swing).broken == (
        "at 50 s: guest vm-2: its target has turned 4 times, where 3 at the most are promised",
    )


RESERVED = """
[[guest]]
name = "new"
memory = "32MiB"
waits = true
[[guest.load]]
kind = "anonymous"
mib = 16
[[reservation]]
at_s = 40
size = "32MiB"
within_s = 60
guest = "new"
"""


def test_a_guest_comes_when_its_reservation_is_ready_and_never_where_it_fails() -> None:
    text = SMALL.replace("0.5", "0.05").replace('"96MiB"', '"124MiB"') + RESERVED
    ready, failed = simulated(text, "proportional"), simulated(text.replace("0.05", "0.9"), "static")
    assert (ready.measures.reservations_ready, ready.measures.reservations_failed) == (1, 0)
    assert ready.curve[-1].guests == 4
    assert (failed.measures.reservations_ready, failed.measures.reservations_failed) == (0, 1)
    assert failed.curve[-1].guests == 3


def test_what_happened_to_a_guest_that_is_gone_is_counted() -> None:
    guest = '[[guest]]\nname = "brief"\nmemory = "32MiB"\nstop_s = 60\n[[guest.load]]\nkind = "hog"\nmib_per_s = 4\n'
    result = simulated(HOST + guest, "static")
    assert result.measures.oom_kills > 0
    assert (result.measures.worst_guest, result.curve[-1].guests) == ("brief", 0)
    assert result.curve[-1].oom_kills == result.measures.oom_kills


def test_a_guest_that_comes_and_goes_between_two_rounds_is_counted() -> None:
    guest = '[[guest]]\nname = "brief"\nmemory = "32MiB"\nstart_s = 41\nstop_s = 49\nboot_share = 0\n'
    result = simulated(HOST + guest + '[[guest.load]]\nkind = "hog"\nmib_per_s = 40\n', "static")
    assert result.measures.oom_kills == 1
    assert {point.guests for point in result.curve} == {0}


def test_a_defect_of_the_guard_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class TooMuch(run_module.PolicyRounds):
        def decide(self, view):
            outcome = super().decide(view)
            orders = tuple(replace(order, target_bytes=21 * MIB) for order in outcome.decisions.orders)
            return replace(outcome, decisions=replace(outcome.decisions, orders=orders))

    monkeypatch.setattr(run_module, "PolicyRounds", TooMuch)
    with pytest.raises(BrokenRuleError, match=f"at 40 s: guest vm-1: was ordered a balloon of {21 * MIB} bytes"):
        simulated(policy=TAKE)


def test_what_must_hold_is_checked_in_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    for rule in ("check_guest", "check_orders", "check_ledger"):
        monkeypatch.setattr(run_module.promises, rule, lambda *_, rule=rule: checked.append(rule))
    simulated(policy="static")
    assert (checked.count("check_guest"), checked.count("check_orders"), checked.count("check_ledger")) == (36, 12, 12)


def test_progress_is_told_in_each_round() -> None:
    shares = []
    run_module.run("small", a_scenario(), choose("static"), 1, shares.append)
    assert shares == pytest.approx([round_ / 12 for round_ in range(1, 13)])


def test_a_guest_that_does_not_follow_is_an_alert() -> None:
    stuck = '[[guest.fault]]\nkind = "stuck"\n'
    guard = "[guard]\nstall_after_s = 10\nuncooperative_after_s = 20"
    result = simulated(SMALL.replace("[guard]", guard) + stuck, TAKE)
    assert (result.measures.alerts, simulated(policy=TAKE).measures.alerts) == (3, 0)


def test_answers_that_do_not_come_in_time_are_counted_and_no_other_failure_is() -> None:
    scenario = a_scenario()
    late = run_module.run("small", scenario, script("while True: pass"), 1, lambda _: None, 0.3)
    assert (late.late, late.measures.policy_failures) == (3, 3)
    ended = run_module.run("small", scenario, script("import os; os._exit(1)"), 1, lambda _: None, 5.0)
    assert (ended.late, ended.measures.policy_failures) == (0, 3)
    assert simulated(policy=script("raise TimeoutError")).late == 0


def test_what_a_scenario_promises_is_looked_at_to_its_end() -> None:
    brief = SMALL.replace("duration_s = 120", "duration_s = 37\ninterval_s = 30")
    hog = '[[guest.load]]\nkind = "hog"\nmib_per_s = 40\nstart_s = 31\n'
    result = simulated(brief + hog + "[promise]\nmost_oom_kills = 0\n", "static")
    assert result.measures.oom_kills > 0
    assert len(result.broken) == 1
    assert result.broken[0].startswith("at 37 s: ")
    assert [point.at_s for point in result.curve] == [30.0, 37.0]
    assert result.curve[-1].oom_kills == result.measures.oom_kills


def test_settings_that_a_scenario_has_for_a_policy_are_its() -> None:
    settings = "[settings.shares]\nstep_bytes = 1048576\n"
    set_there, given = simulated(SMALL + settings), simulated(policy="shares:step_bytes=1048576")
    assert set_there.decisions == given.decisions != simulated().decisions


@pytest.fixture
def rounds_made(monkeypatch: pytest.MonkeyPatch) -> list[run_module.PolicyRounds]:
    made = []

    class Noted(run_module.PolicyRounds):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(run_module, "PolicyRounds", Noted)
    return made


def test_a_guest_that_comes_claims_its_reservation(rounds_made) -> None:
    simulated(SMALL.replace("0.5", "0.05").replace('"96MiB"', '"124MiB"') + RESERVED, "proportional")
    (reservation,) = rounds_made[0].book.reservations
    assert (reservation.state, reservation.claimed_by) == ("claimed", "new")


def test_a_reservation_that_nobody_claims_is_kept_for_as_long_as_it_says(rounds_made) -> None:
    asked = '[[reservation]]\nat_s = 10\nsize = "4MiB"\nwithin_s = 10\nkeep_s = 30\n'
    simulated(SMALL.replace('"96MiB"', '"256MiB"') + asked, "static")
    (reservation,) = rounds_made[0].book.reservations
    assert (reservation.state, reservation.reason) == ("expired", "nobody claimed it within 30 s")
