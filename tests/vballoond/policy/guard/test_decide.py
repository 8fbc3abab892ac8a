"""What holds whatever a plan says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.policy_views import MIB, a_guest, a_view, known, plans, views, wish
from support.properties import examples

from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.policy import Alert, Plan, Reserve
from vballoond.policy.guard.decide import guard
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.stalls import observe
from vballoond.policy.guard.state import GuardState, GuestRecord

pytestmark = pytest.mark.long

STATE = TypeAdapter(GuardState)
LOOSE = Limits(step_bytes=1 << 50, rate_bytes_per_s=1 << 60, dead_band_bytes=0, dead_band_share=0.0)


def records(view):
    """Any record of a guest that a guard could have made a while ago."""
    return st.builds(
        GuestRecord,
        first_seen_s=st.just(view.now_s - 1000),
        actual_bytes=st.integers(0, 1 << 40),
        progress_at_s=st.floats(view.now_s - 100, view.now_s),
        asked_at_s=st.floats(view.now_s - 100, view.now_s),
        stalls=st.integers(0, 5),
        stalled_at_s=st.none() | st.just(view.now_s - 5),
        retry_at_s=st.floats(view.now_s - 10, view.now_s + 10),
        ordered_bytes=st.none() | st.sampled_from([guest.target_bytes for guest in view.guests] or [0]),
        ordered_at_s=st.floats(view.now_s - 200, view.now_s),
        direction=st.sampled_from([-1, 0, 1]),
    )


@st.composite
def rounds(draw):
    """Any view, plan, state and limits."""
    view = draw(views())
    view = replace(view, now_s=round(view.now_s % 1e6, 3))
    names = [guest.name for guest in view.guests] + ["gone"]
    state = GuardState(
        at_s=draw(st.none() | st.floats(view.now_s - 100, view.now_s)),
        guests=draw(st.dictionaries(st.sampled_from(names), records(view))),
    )
    return view, draw(plans(view)), state, draw(st.sampled_from([Limits(), LOOSE]))


@given(round_=rounds())
@examples(80)
def test_targets_stay_within_bounds_or_go_nearer_to_them(round_):
    view, plan, state, limits = round_
    guests = {guest.name: guest for guest in view.guests}
    for order in guard(view, plan, state, limits).orders:
        guest = guests[order.guest]
        assert min(guest.min_bytes, guest.target_bytes) <= order.target_bytes
        assert order.target_bytes <= max(guest.max_bytes, guest.target_bytes)
        assert order.target_bytes % FRAME_BYTES == 0 or order.target_bytes in {guest.max_bytes, guest.actual_bytes}


@given(round_=rounds())
@examples(80)
def test_what_is_granted_is_there_above_the_reserve(round_):
    view, plan, state, limits = round_
    targets = {guest.name: guest.target_bytes for guest in view.guests}
    targets |= {order.guest: order.target_bytes for order in guard(view, plan, state, limits).orders}
    before = sum(max(0, guest.actual_bytes - guest.target_bytes) for guest in view.guests)
    after = sum(max(0, guest.actual_bytes - targets[guest.name]) for guest in view.guests)
    assert after <= max(before, view.host.spare_bytes)


@given(round_=rounds())
@examples(80)
def test_no_guest_falls_below_what_it_can_count_on(round_):
    view, plan, state, limits = round_
    guests = {guest.name: guest for guest in view.guests}
    for order in guard(view, plan, state, limits).orders:
        guest = guests[order.guest]
        if guest.target_bytes <= guest.max_bytes:
            assert guest.memory_bytes - order.target_bytes >= guest.smallest_bytes


@given(round_=rounds())
@examples(60)
def test_every_difference_from_a_wish_is_explained(round_):
    view, plan, state, limits = round_
    decisions = guard(view, plan, state, limits)
    wishes = {item.guest: item.target_bytes for item in plan.wishes}
    assert wishes.keys() <= {decision.guest for decision in decisions.explanations}
    for decision in decisions.explanations:
        if abs(decision.target_bytes - decision.wished_bytes) >= FRAME_BYTES:
            assert abs(decision.changes[-1].target_bytes - decision.target_bytes) < FRAME_BYTES
            assert decision.changes[-1].why in decision.explanation
    moved = {decision.guest for decision in decisions.explanations if decision.target_bytes != decision.from_bytes}
    assert {order.guest for order in decisions.orders} == moved


@given(round_=rounds())
@examples(60)
def test_guests_that_cannot_follow_get_no_orders(round_):
    view, plan, state, limits = round_
    alone = {guest.name for guest in view.guests if guest.state in {"new", "paused", "broken", "silent"}}
    assert alone.isdisjoint(order.guest for order in guard(view, plan, state, limits).orders)


@given(round_=rounds())
@examples(40)
def test_the_same_gives_the_same_and_who_looked_before_changes_nothing(round_):
    view, plan, state, limits = round_
    decisions = guard(view, plan, state, limits)
    assert guard(view, plan, state, limits) == decisions
    observed = observe(view, state, limits)
    assert observe(observed.view, observed.state, limits) == replace(observed, alerts=())
    assert guard(observed.view, plan, observed.state, limits) == replace(decisions, alerts=plan.alerts)


@given(round_=rounds())
@examples(40)
def test_the_state_is_of_the_guests_that_are_there_and_can_be_kept(round_):
    view, plan, state, limits = round_
    after = guard(view, plan, state, limits).state
    assert after.at_s == view.now_s
    assert after.guests.keys() == {guest.name for guest in view.guests}
    assert STATE.validate_json(STATE.dump_json(after)) == after


def test_who_gives_comes_first():
    guests = (a_guest("a", balloon=500), a_guest("b"), a_guest("c", balloon=500), a_guest("d"))
    view = a_view(*guests)
    plan = Plan((wish("a", 400), wish("b", 100), wish("c", 400), wish("d", 100)))
    orders = guard(view, plan, known(view), Limits()).orders
    assert [order.guest for order in orders] == ["b", "d", "a", "c"]


def test_a_wish_that_nothing_speaks_against_is_carried_out():
    view = a_view(a_guest("a"))
    decisions = guard(view, Plan((wish("a", 100),)), known(view), Limits())
    assert [order.target_bytes for order in decisions.orders] == [100 * MIB]
    assert decisions.explanations[0].explanation == "a test wishes so"


def test_a_round_soon_after_another_moves_less():
    view = a_view(a_guest("a"))
    soon = replace(known(view), at_s=view.now_s - 2)
    decisions = guard(view, Plan((wish("a", 1000),)), soon, Limits())
    assert [order.target_bytes for order in decisions.orders] == [200 * MIB]


def test_a_wish_for_a_guest_that_is_gone_is_passed_over():
    view = a_view(a_guest("a"))
    assert guard(view, Plan((wish("gone", 100),)), known(view), Limits()).orders == ()


def test_a_guest_without_a_wish_stays_as_it_is():
    view = a_view(a_guest("a", balloon=500))
    decisions = guard(view, Plan(), known(view), Limits())
    assert (decisions.orders, decisions.explanations) == ((), ())


def test_alerts_of_the_policy_are_passed_on():
    view = a_view()
    assert guard(view, Plan(alerts=(Alert(None, "look"),)), known(view), Limits()).alerts == (Alert(None, "look"),)


def test_what_a_policy_holds_back_is_not_granted():
    view = a_view(a_guest("a", balloon=500), available=300)
    plan = Plan((wish("a", 0),), reserves=(Reserve(250 * MIB, "for later"),))
    decisions = guard(view, plan, known(view), LOOSE)
    assert decisions.orders[0].target_bytes == 450 * MIB


def test_targets_are_whole_frames_towards_where_they_were():
    view = a_view(a_guest("a", balloon=500), a_guest("b", balloon=500))
    plan = Plan((replace(wish("a", 0), target_bytes=400 * MIB + 1), replace(wish("b", 0), target_bytes=600 * MIB - 1)))
    decisions = guard(view, plan, known(view), LOOSE)
    assert {order.guest: order.target_bytes for order in decisions.orders} == {
        "a": 400 * MIB + FRAME_BYTES,
        "b": 600 * MIB - FRAME_BYTES,
    }
    assert decisions.explanations[0].changes == ()


def test_a_decision_is_shown_as_the_api_shows_it():
    view = a_view(a_guest("a", most=300))
    decision = guard(view, Plan((wish("a", 400),)), known(view), LOOSE).explanations[0]
    why = "the balloon may have 300 MiB, so that the guest keeps 724 MiB"
    assert decision.data() == {
        "balloon": "a",
        "from_bytes": 0,
        "wished_bytes": 400 * MIB,
        "target_bytes": 300 * MIB,
        "reason": f"a test wishes so; bounds: {why}",
        "changes": [{"rule": "bounds", "target_bytes": 300 * MIB, "why": why}],
    }


@pytest.mark.parametrize(
    ("guest", "wished", "record", "rule"),
    [
        (a_guest("a", state="paused"), 100, {}, "left alone"),
        (a_guest("a", most=50), 100, {}, "bounds"),
        (a_guest("a", balloon=10, target=50, state="stalled"), 100, {}, "stalled"),
        (a_guest("a", balloon=50), 100, {"direction": -1, "ordered_at_s": 999.0}, "see-saw"),
        (a_guest("a", balloon=50), 50.5, {}, "dead band"),
        (a_guest("a"), 1000, {}, "steps"),
        (a_guest("a", balloon=8000, memory=9000), 7900, {}, "givers first"),
    ],
)
def test_each_rule_has_its_place(guest, wished, record, rule):
    view = a_view(guest, available=50)
    state = known(view)
    state = replace(state, guests={"a": replace(state.guests["a"], **record)})
    decision = guard(view, Plan((wish("a", wished),)), state, Limits()).explanations[0]
    assert [change.rule for change in decision.changes] == [rule]
