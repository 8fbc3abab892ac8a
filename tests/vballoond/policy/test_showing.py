"""What policies are shown of guests that do not move, and of what is reserved."""

from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view, known, wish

from vballoond.policy import Plan, View
from vballoond.policy.guard.decide import guard
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.state import GuardState
from vballoond.policy.reservations import Book, ask
from vballoond.policy.showing import show

LIMITS = Limits()


def stalled(view: View) -> GuardState:
    """Return the state of a guard that saw the guest stall, and leaves it alone for long."""
    state = known(view)
    record = replace(state.guests["vm1"], stalls=3, stalled_at_s=view.now_s - 50, retry_at_s=view.now_s + 500)
    return replace(state, guests={"vm1": record})


def stuck(free: float, **more) -> View:
    """Return a guest that is to give 256 MiB more than it does."""
    return a_view(a_guest("vm1", balloon=512, target=768, free=free, **more))


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (stuck(free=200), "stalled"),
        (stuck(free=5), "running"),
        (stuck(free=200, rates={"alloc_stall": 1.0}), "running"),
        (stuck(free=200, rates={"oom_kill": 0.1}), "running"),
    ],
)
def test_a_stalled_guest_that_starves_is_shown_to_policies_as_one_that_can_be_helped(view: View, state: str) -> None:
    shown = show(view, stalled(view), Book(), LIMITS)
    assert shown.view.guests[0].state == state


def test_one_that_starves_gets_back_but_is_asked_for_nothing_more() -> None:
    view = stuck(free=5)
    shown = show(view, stalled(view), Book(), LIMITS)
    for wished, target in ((900, 768), (0, 0)):
        (decision,) = guard(shown.view, Plan((wish("vm1", wished),)), shown.state, LIMITS).explanations
        assert decision.target_bytes == target * MIB


def test_what_is_reserved_is_held_back_in_the_view() -> None:
    view = a_view(a_guest("vm1"))
    book, _ = ask(Book(), view, 100 * MIB, within_s=60)
    shown = show(view, known(view), book, LIMITS)
    assert shown.view.host.reserved_bytes >= 100 * MIB


def test_what_was_shown_is_shown_again_as_it_is() -> None:
    for view in (stuck(free=5), stuck(free=200)):
        once = show(view, stalled(view), Book(), LIMITS)
        assert show(once.view, once.state, Book(), LIMITS) == once
