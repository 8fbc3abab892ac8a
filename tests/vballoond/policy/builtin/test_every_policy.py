import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy_views import a_guest, a_view, again, views
from support.properties import examples

from vballoond.policy.builtin import BUILT_IN
from vballoond.policy.plan import check_plan
from vballoond.policy.policy import check_policy, check_settings, settings_of, summary_of
from vballoond.policy.view import view_json

pytestmark = pytest.mark.long

EACH = pytest.mark.parametrize("policy", BUILT_IN, ids=lambda policy: policy.name)


def check(policy, view):
    settings = check_settings(policy, {})
    before = view_json(view)
    plan = policy().plan(view, settings)
    assert view_json(view) == before
    assert policy().plan(copy.deepcopy(view), settings) == plan
    assert check_plan(plan, view) == plan
    guests = {guest.name: guest for guest in view.guests}
    for wish in plan.wishes:
        guest = guests[wish.guest]
        assert guest.min_bytes <= wish.target_bytes <= guest.max_bytes
        assert guest.state == "running"
    return plan


@EACH
@given(data=st.data())
@examples(40)
def test_for_any_view_it_wishes_the_same_each_time_and_within_bounds(policy, data):
    view = data.draw(views())
    plan = check(policy, view)
    later = again(data.draw(views()), plan, passed_s=0)
    check(policy, later)


@EACH
def test_it_says_what_it_does_and_what_can_be_set(policy):
    check_policy(policy)
    assert summary_of(policy).endswith(".") or summary_of(policy).endswith(")")
    assert settings_of(policy).model_json_schema()["additionalProperties"] is False


@EACH
def test_a_host_with_thousands_of_guests_is_no_harm(policy):
    guests = [a_guest(f"vm{number}", balloon=500, free=200) for number in range(3000)]
    view = a_view(*guests, total=4_000_000, available=100_000)
    check(policy, again(view, check(policy, view)))


def test_names_are_different():
    assert len({policy.name for policy in BUILT_IN}) == len(BUILT_IN) == 8
