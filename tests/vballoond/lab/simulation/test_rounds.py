from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view
from support.scripts_here import fails, policy

from vballoond.lab.simulation.chosen_policy import choose
from vballoond.lab.simulation.rounds import PolicyRounds
from vballoond.policy import Plan, PolicySettings
from vballoond.policy.discover import Found
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.state import GuardState
from vballoond.policy.plan import Alert
from vballoond.policy.reservations import ask

VIEW = a_view(a_guest("a", free=900), total=4096, available=1000)


def rounds(policy: str) -> PolicyRounds:
    return PolicyRounds(*choose(policy).checked(), Limits(), GuardState.knowing(VIEW))


def test_what_is_reserved_is_in_the_view_that_the_policy_sees() -> None:
    steering = rounds("proportional")
    assert steering.decide(VIEW).decisions.orders == ()
    steering.book, _ = ask(steering.book, VIEW, 1200 * MIB, within_s=60)
    outcome = steering.decide(replace(VIEW, now_s=VIEW.now_s + 10))
    assert outcome.view.host.reserved_bytes >= 1200 * MIB
    assert [item.state for item in outcome.changed] == ["gathering"]
    assert [order.guest for order in outcome.decisions.orders] == ["a"]


def test_the_guard_knows_what_it_ordered_before() -> None:
    steering = rounds("shares")
    (order,) = steering.decide(a_view(a_guest("a", free=900), total=4096, available=200)).decisions.orders
    turned = a_view(a_guest("a", free=10, balloon=100), total=4096, available=2000, now_s=1001)
    (decision,) = steering.decide(turned).decisions.explanations
    assert order.target_bytes == 100 * MIB
    assert decision.from_bytes == 100 * MIB


def test_a_stalled_guest_that_starves_is_shown_as_the_daemon_shows_it() -> None:
    view = a_view(a_guest("a", balloon=512, target=768, free=5))
    record = replace(GuardState.knowing(view).guests["a"], stalls=3, stalled_at_s=view.now_s - 50, retry_at_s=1e9)
    state = replace(GuardState.knowing(view), guests={"a": record})
    outcome = PolicyRounds(*choose("watermark").checked(), Limits(), state).decide(view)
    assert outcome.view.guests[0].state == "running"


def uncooperative(policy: Found) -> PolicyRounds:
    """Rounds over a guest that has been stalled for long, and nobody was told."""
    view = a_view(a_guest("a", balloon=512, target=768, free=500))
    record = replace(GuardState.knowing(view).guests["a"], stalls=3, stalled_at_s=view.now_s - 50, retry_at_s=1e9)
    record = replace(record, progress_at_s=view.now_s - 5000)
    return PolicyRounds(policy, PolicySettings(), Limits(), replace(GuardState.knowing(view), guests={"a": record}))


STALLED = a_view(a_guest("a", balloon=512, target=768, free=500))


@pytest.mark.parametrize("plan", [lambda _: Plan(), fails("no")], ids=["a plan", "none"])
def test_what_is_seen_of_a_guest_is_told_once_whether_or_not_the_policy_has_a_plan(plan) -> None:
    steering = uncooperative(Found(policy("mine", plan), "mine.py", "mine.py"))
    steering.book, _ = ask(steering.book, STALLED, MIB, within_s=60)  # which is another look at the guests
    (alert,) = steering.decide(STALLED).alerts
    assert alert.guest == "a"
    assert "has not moved for 5000 s" in alert.message
    assert steering.decide(replace(STALLED, now_s=1010.0)).alerts == ()


def test_what_is_seen_of_a_guest_is_told_also_while_the_policy_is_set_aside() -> None:
    steering = uncooperative(Found(policy("mine", fails("no")), "mine.py", "mine.py"))
    for _ in range(3):
        steering.budget = steering.budget.failed(1000.0, "no")
    assert len(steering.decide(STALLED).alerts) == 1


def test_what_the_guard_and_the_policy_say_comes_first() -> None:
    own = Alert(None, "mine")
    steering = uncooperative(Found(policy("mine", lambda _: Plan(alerts=(own,))), "mine.py", "mine.py"))
    assert [alert.guest for alert in steering.decide(STALLED).alerts] == [None, "a"]
