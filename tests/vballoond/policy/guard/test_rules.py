"""Each rule alone: what it does to one guest, and what it lets through."""

from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest

from vballoond.policy.guard.back_off import back_off
from vballoond.policy.guard.bounds import bounds, left_alone
from vballoond.policy.guard.case import Case
from vballoond.policy.guard.dead_band import dead_band
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.see_saw import see_saw
from vballoond.policy.guard.state import GuestRecord
from vballoond.policy.guard.steps import steps

LIMITS = Limits()


def a_case(guest, mib, *, elapsed_s=10.0, host_short=False, **record):
    kept = GuestRecord(first_seen_s=0.0, actual_bytes=guest.actual_bytes, progress_at_s=1000.0, asked_at_s=1000.0)
    return Case(guest, replace(kept, **record), int(mib * MIB), 1000.0, elapsed_s, host_short)


def outcome(rule, case, limits=LIMITS):
    """Return the target in MiB that the rule proposes, or None."""
    change = rule(case, limits)
    return None if change is None else change.target_bytes / MIB


@pytest.mark.parametrize("state", ["new", "paused", "broken", "silent"])
def test_a_guest_that_cannot_be_expected_to_follow_is_left_alone(state):
    assert outcome(left_alone, a_case(a_guest(balloon=100, state=state), 200)) == 100


@pytest.mark.parametrize("state", ["running", "stalled"])
def test_others_are_not(state):
    assert outcome(left_alone, a_case(a_guest(balloon=100, state=state), 200)) is None


@pytest.mark.parametrize(
    ("target", "wished", "cut"),
    [(300, 600, 500), (300, 50, 100), (300, 400, None), (700, 800, 500), (700, 650, 500), (50, 20, 100), (50, 70, 100)],
)
def test_a_wish_is_cut_to_the_bounds(target, wished, cut):
    guest = a_guest(balloon=target, least=100, most=500)
    assert outcome(bounds, a_case(guest, wished)) == cut


def test_a_stalled_guest_is_not_asked_for_more_of_the_same():
    guest = a_guest(balloon=100, target=300, state="stalled")
    assert outcome(back_off, a_case(guest, 400)) == 300
    assert outcome(back_off, a_case(guest, 200)) is None
    assert outcome(back_off, a_case(replace(guest, state="running"), 400)) is None


@pytest.mark.parametrize("state", ["running", "new", "paused", "stalled"])
@pytest.mark.parametrize("rule", [left_alone, bounds, back_off, see_saw, dead_band, steps])
def test_where_nothing_is_to_change_no_rule_says_anything(rule, state):
    assert outcome(rule, a_case(a_guest(balloon=300, state=state), 300, ordered_at_s=1000.0)) is None


@pytest.mark.parametrize("wished", [200, 400])
def test_a_stalled_guest_that_rests_is_asked_for_nothing(wished):
    assert outcome(back_off, a_case(a_guest(balloon=300, state="stalled"), wished)) == 300


@pytest.mark.parametrize(
    ("balloon", "target", "why"),
    [
        (300, 100, "does not take what it was granted: takes 200 MiB"),
        (100, 300, "has no more to give: gives 200 MiB"),
    ],
)
def test_what_is_taken_back_is_said(balloon, target, why):
    guest = a_guest(balloon=balloon, target=target, state="stalled")
    assert back_off(a_case(guest, target, ordered_bytes=guest.target_bytes), LIMITS).why == why


@pytest.mark.parametrize(("retry_at_s", "wait"), [(1007.0, "7 s"), (999.0, "0 s")])
def test_when_a_stalled_guest_is_asked_again_is_said(retry_at_s, wait):
    case = a_case(a_guest(balloon=300, state="stalled"), 400, retry_at_s=retry_at_s)
    assert back_off(case, LIMITS).why == f"does not move; is asked again in {wait}"


def test_what_a_stalled_guest_does_not_take_is_withdrawn():
    guest = a_guest(balloon=300, target=100, state="stalled")
    assert outcome(back_off, a_case(guest, 100, ordered_bytes=100 * MIB)) == 300
    assert outcome(back_off, a_case(guest, 0, ordered_bytes=100 * MIB)) == 300


def test_a_stalled_guest_that_has_no_more_to_give_is_squeezed_no_further():
    guest = a_guest(balloon=100, target=300, state="stalled")
    assert outcome(back_off, a_case(guest, 300, ordered_bytes=300 * MIB)) == 100
    assert outcome(back_off, a_case(guest, 400, ordered_bytes=300 * MIB)) == 100
    assert outcome(back_off, a_case(guest, 50, ordered_bytes=300 * MIB)) is None
    assert outcome(back_off, a_case(guest, 100, ordered_bytes=300 * MIB)) is None
    assert outcome(back_off, a_case(guest, 400, ordered_bytes=299 * MIB)) == 300
    bounded = a_guest(balloon=100, target=300, state="stalled", least=200)
    assert outcome(back_off, a_case(bounded, 300, ordered_bytes=300 * MIB)) == 200


@pytest.mark.parametrize(("target", "rests"), [(299, 299), (298.9, 300), (301, 301), (301.1, 300)])
def test_a_stalled_guest_that_is_as_good_as_there_keeps_its_target(target, rests):
    guest = a_guest(balloon=300, target=target, state="stalled")
    further = 310 if target > 300 else 290
    assert outcome(back_off, a_case(guest, further, ordered_bytes=guest.target_bytes)) == pytest.approx(rests, abs=1e-6)


def test_what_somebody_else_granted_is_not_withdrawn():
    guest = a_guest(balloon=300, target=100, state="stalled")
    assert outcome(back_off, a_case(guest, 100, ordered_bytes=99 * MIB)) is None
    assert outcome(back_off, a_case(guest, 0, ordered_bytes=None)) == 100


@pytest.mark.parametrize(("since_s", "turns"), [(99, False), (100, True)])
def test_a_balloon_that_shrank_grows_again_after_a_while(since_s, turns):
    case = a_case(a_guest(balloon=300), 400, direction=-1, ordered_at_s=1000.0 - since_s)
    assert (outcome(see_saw, case) is None) is turns


@pytest.mark.parametrize(("since_s", "turns"), [(9, False), (10, True)])
def test_a_balloon_that_grew_shrinks_again_sooner(since_s, turns):
    case = a_case(a_guest(balloon=300), 200, direction=1, ordered_at_s=1000.0 - since_s)
    assert (outcome(see_saw, case) is None) is turns


def test_the_same_way_is_always_open():
    assert outcome(see_saw, a_case(a_guest(balloon=300), 400, direction=1, ordered_at_s=1000.0)) is None


def test_what_is_urgent_turns_a_balloon_at_once():
    short = a_case(a_guest(balloon=300), 400, direction=-1, ordered_at_s=1000.0, host_short=True)
    assert outcome(see_saw, short) is None
    starving = a_case(a_guest(balloon=300, free=10), 200, direction=1, ordered_at_s=1000.0)
    assert outcome(see_saw, starving) is None
    fed = a_case(a_guest(balloon=300, free=300), 200, direction=1, ordered_at_s=1000.0, host_short=True)
    assert outcome(see_saw, fed) == 300


@pytest.mark.parametrize("counter", ["oom_kill", "alloc_stall"])
def test_a_guest_starves_when_it_kills_or_waits_for_memory(counter):
    assert a_case(a_guest(free=900, rates={counter: 0.1}), 0).starving(LIMITS)
    assert not a_case(a_guest(free=900, rates={"swap_in": 0.1}), 0).starving(LIMITS)


def test_a_guest_starves_when_it_has_less_than_a_twentieth_available():
    assert a_case(a_guest(memory=1000, free=49.9), 0).starving(LIMITS)
    assert not a_case(a_guest(memory=1000, free=50), 0).starving(LIMITS)


def test_a_change_that_is_too_small_is_none():
    # A quarter of a percent of 2000.
    assert outcome(dead_band, a_case(a_guest(memory=2000), 4.9)) == 0
    assert outcome(dead_band, a_case(a_guest(memory=2000), 5)) is None
    assert outcome(dead_band, a_case(a_guest(memory=100), 0.9)) == 0
    assert outcome(dead_band, a_case(a_guest(memory=100), 1)) is None


def test_the_last_bit_that_the_host_is_short_of_is_not_too_small():
    assert outcome(dead_band, a_case(a_guest(), 0.5, host_short=True)) is None
    assert outcome(dead_band, a_case(a_guest(balloon=1), 0.5, host_short=True)) == 1


def test_a_long_way_is_gone_in_steps():
    assert outcome(steps, a_case(a_guest(), 1000)) == 256
    assert outcome(steps, a_case(a_guest(balloon=1000), 0)) == 744
    assert outcome(steps, a_case(a_guest(), 256)) is None
    assert outcome(steps, a_case(a_guest(memory=10_000), 1000)) == 500


def test_a_step_is_no_faster_than_the_rate():
    assert outcome(steps, a_case(a_guest(), 1000, elapsed_s=2.0)) == 200
    assert outcome(steps, a_case(a_guest(), 1000, elapsed_s=-5.0)) == 0
    assert outcome(steps, a_case(a_guest(), 1000, elapsed_s=None)) == 256


def test_a_guest_that_starves_gets_all_at_once():
    assert outcome(steps, a_case(a_guest(balloon=1000, free=0), 0)) is None
    assert outcome(steps, a_case(a_guest(free=0), 1000)) == 256
