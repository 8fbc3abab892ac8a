from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view, wish

from vballoond.policy import GuestStatistics, Plan
from vballoond.policy.guard.decide import guard
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.stalls import observe
from vballoond.policy.guard.state import GuardState

LIMITS = Limits(new_for_s=0.0)


class Watched:
    """One guest over time; the state travels along."""

    def __init__(self, limits=LIMITS):
        self.limits, self.state, self.alerts = limits, GuardState(), []

    def see(self, now_s, balloon, target, **more):
        """Return the state in which the guest is seen."""
        guest = a_guest(balloon=balloon, target=target, **more)
        observed = observe(a_view(guest, now_s=now_s), self.state, self.limits)
        self.state = observed.state
        self.alerts += [(now_s, alert.message) for alert in observed.alerts]
        return observed.view.guests[0].state


def test_a_guest_that_does_not_move_for_five_seconds_is_stalled():
    guest = Watched()
    assert guest.see(0, 100, 300) == "running"
    assert guest.see(5, 100, 300) == "running"
    assert guest.see(5.1, 100, 300) == "stalled"


def test_any_movement_towards_the_target_will_do():
    guest = Watched()
    assert [guest.see(at_s, 100 + at_s / 1000, 300) for at_s in range(0, 100, 4)] == ["running"] * 25


def test_movement_away_from_the_target_will_not():
    guest = Watched()
    assert [guest.see(at_s, 100 - at_s, 300) for at_s in range(0, 12, 4)] == ["running", "running", "stalled"]


def test_one_that_has_nothing_to_do_is_not_stalled_and_begins_anew():
    guest = Watched()
    assert [guest.see(at_s, 299, 300) for at_s in range(0, 100, 10)] == ["running"] * 10
    assert guest.see(94, 299, 500) == "running"
    assert guest.see(96, 299, 500) == "stalled"


def test_it_is_tried_again_after_a_while_that_doubles():
    guest = Watched()
    times = [at_s for at_s in range(200) if guest.see(at_s, 100, 300) == "running"]
    # Stalled at 6, tried again after more than 10, for 6 each; then 20, then 40, then 80.
    assert times == [*range(6), *range(17, 23), *range(44, 50), *range(91, 97), *range(178, 184)]


def test_movement_ends_it_and_the_next_time_begins_small():
    guest = Watched()
    for at_s in range(30):
        guest.see(at_s, 100, 300)
    assert guest.see(30, 101, 300) == "running"
    assert guest.state.guests["vm1"].stalls == 0
    assert [guest.see(at_s, 101, 300) for at_s in (35, 36, 46, 47)] == ["running", "stalled", "stalled", "running"]


@pytest.mark.parametrize("reached", [300, 301])
def test_so_does_movement_that_comes_to_the_target_at_once_or_a_little_beyond(reached):
    guest = Watched()
    for at_s in range(30):
        guest.see(at_s, 100, 300)
    assert len(guest.alerts) == 1
    assert guest.see(30, reached, 300) == "running"
    assert guest.state.guests["vm1"].stalls == 0
    for at_s in range(31, 60):
        guest.see(at_s, reached, 600)
    assert len(guest.alerts) == 2


@pytest.mark.parametrize("moved", [99, 101])
def test_movement_from_where_the_target_is_does_not_end_it(moved):
    guest = Watched()
    guest.see(0, 100, 300)
    assert guest.see(6, 100, 300) == "stalled"
    assert guest.see(7, 100, 100) == "stalled"
    assert guest.see(8, moved, 100) == "stalled"


def test_there_is_an_end_to_the_doubling():
    guest = Watched(replace(LIMITS, most_back_off_s=25.0))
    times = [at_s for at_s in range(130) if guest.see(at_s, 100, 300) == "running"]
    # As above, but the third time it is tried again after more than 25, and so it goes on.
    assert times == [*range(6), *range(17, 23), *range(44, 50), *range(76, 82), *range(108, 114)]


def test_it_stays_stalled_when_its_target_comes_to_where_it_is():
    guest = Watched()
    guest.see(0, 100, 300)
    assert guest.see(6, 100, 300) == "stalled"
    assert guest.see(7, 100, 100) == "stalled"


def test_people_are_told_once_that_it_does_not_cooperate():
    guest = Watched()
    for at_s in range(0, 200, 3):
        guest.see(at_s, 100, 300)
    assert guest.alerts == [(21, "was to give up 200 MiB, and has not moved for 21 s")]
    guest.see(200, 150, 300)
    for at_s in range(201, 230):
        guest.see(at_s, 150, 0)
    assert guest.alerts[1:] == [(221, "was to take back 150 MiB, and has not moved for 21 s")]


def test_a_guest_is_new_for_a_while_and_that_is_no_stall():
    guest = Watched(Limits(new_for_s=30.0))
    assert [guest.see(at_s, 0, 300) for at_s in (0, 10, 29, 30, 34, 35)] == ["new"] * 3 + ["running"] * 2 + ["stalled"]


def test_one_that_was_gone_is_new_again():
    guest = Watched(Limits(new_for_s=30.0))
    guest.see(0, 0, 0)
    guest.state = observe(a_view(now_s=40), guest.state, guest.limits).state
    assert guest.state.guests == {}
    assert guest.see(50, 0, 0) == "new"


def test_a_guest_whose_statistics_are_stale_is_silent():
    guest = Watched()
    stale = GuestStatistics(stale=True)
    assert guest.see(0, 0, 0, statistics=stale) == "silent"
    assert guest.see(10, 0, 0, statistics=replace(stale, stale=False)) == "running"


@pytest.mark.parametrize("state", ["paused", "broken", "new", "silent"])
def test_what_others_say_of_a_guest_counts_and_is_no_stall(state):
    guest = Watched()
    assert [guest.see(at_s, 0, 300, state=state) for at_s in (0, 10, 20)] == [state] * 3
    assert guest.see(24, 0, 300) == "running"
    assert guest.state.guests["vm1"].stalls == 0


def test_a_guard_that_knows_the_guests_finds_none_of_them_new():
    view = a_view(a_guest(balloon=100, target=300))
    observed = observe(view, GuardState.knowing(view), Limits())
    assert observed.view == view


@pytest.mark.parametrize(
    ("wished", "targets"),
    [
        (100, [100, 300, 300, 100, 300, 300, 300]),
        (500, [500, 300, 300, 500, 300, 300, 300]),
    ],
)
def test_what_is_not_done_is_taken_back_and_asked_for_again_later(wished, targets):
    """Through ``guard``: order, take back, and not order again until the back-off is over."""
    limits = replace(LIMITS, give_after_take_s=0.0, take_after_give_s=100.0)
    state, target, seen = GuardState(at_s=-10.0), 300, []
    for at_s in range(0, 40, 6):
        view = a_view(a_guest(balloon=300, target=target), now_s=at_s)
        observed = observe(view, state, limits)
        wishes = Plan() if observed.view.guests[0].state == "stalled" else _wish_for(wished)
        decisions = guard(observed.view, wishes, observed.state, limits)
        state = decisions.state
        target = decisions.orders[0].target_bytes // MIB if decisions.orders else target
        seen.append(target)
    assert seen == targets


def test_people_are_told_of_one_that_rests_as_well():
    state, target, alerts = GuardState(at_s=-10.0), 300, []
    for at_s in range(0, 60, 3):
        view = a_view(a_guest(balloon=300, target=target), now_s=at_s)
        decisions = guard(view, _wish_for(500), state, LIMITS)
        state = decisions.state
        target = decisions.orders[0].target_bytes // MIB if decisions.orders else target
        alerts += [(at_s, alert.message) for alert in decisions.alerts]
    assert alerts == [(39, "was asked 2 times, and has not moved for 21 s")]


def _wish_for(mib):
    return Plan((wish("vm1", mib),))
