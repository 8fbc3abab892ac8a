import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy_views import MIB, a_guest, a_view, plans, views
from support.properties import examples

from vballoond.errors import PolicyError
from vballoond.policy import Alert, Plan, Reserve, Wish
from vballoond.policy.plan import MAX_PLAN_BYTES, check_plan, plan_json, read_plan
from vballoond.runner.kept import Chosen, Kept

VIEW = a_view(a_guest("vm1"), a_guest("vm2"))


class Loud(str):
    __slots__ = ()


class Number(int):
    __slots__ = ()


def without_a_target():
    wish = Wish("vm1", 1, "x")
    object.__delattr__(wish, "target_bytes")
    return Plan((wish,))


def nested(levels):
    """Return lists and objects in each other."""
    value = 1
    for level in range(levels):
        value = [value] if level % 2 else {"": value}
    return value


DEEP = nested(100_000)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "plan() returned None, not a Plan"),
        ([], "plan() returned a list, not a Plan"),
        (Plan(wishes={}), "wishes is a dict, not a tuple of Wish"),
        (Plan((("vm1", 1),)), "among wishes is a tuple, not a Wish"),
        (Plan((Wish("vm1", math.nan, "x"),)), "target_bytes of the wish for 'vm1' is nan, not a number of bytes"),
        (Plan((Wish("vm1", math.inf, "x"),)), "target_bytes of the wish for 'vm1' is inf, not a number of bytes"),
        (Plan((Wish("vm1", -1, "x"),)), "target_bytes of the wish for 'vm1' is -1, outside of 0 to 1073741824"),
        (Plan((Wish("vm1", (1 << 30) + 1, "x"),)), "is 1073741825, outside of 0 to 1073741824"),
        (Plan((Wish("vm1", 1 << 100_000, "x"),)), "is a number of 100001 bits, outside"),
        (Plan((Wish("vm1", 1e300, "x"),)), "outside of 0 to 1073741824"),
        (Plan((Wish("vm1", True, "x"),)), "is a bool, not a number of bytes"),
        (Plan((Wish("vm1", "1", "x"),)), "is a str, not a number of bytes"),
        (Plan((Wish("vm1", Number(1), "x"),)), "is a Number, not a number of bytes"),
        (Plan((Wish("vm9", 1, "x"),)), "a wish is for guest 'vm9', which the view does not have"),
        (Plan((Wish(Loud("vm1"), 1, "x"),)), "a wish names a Loud as its guest"),
        (Plan((Wish("vm1", 1, "x"), Wish("vm1", 2, "x"))), "there are two wishes for guest 'vm1'"),
        (Plan((Wish("vm1", 1, ""),)), "reason of the wish for 'vm1' is '', not one line"),
        (Plan((Wish("vm1", 1, "a\nb"),)), "not one line that can be read"),
        (Plan((Wish("vm1", 1, "\ud800"),)), "not one line that can be read"),
        (Plan((Wish("vm1", 1, "x" * 501),)), "has 501 characters; 500 are the most"),
        (Plan((Wish("vm1", 1, None),)), "reason of the wish for 'vm1' is None, not a text"),
        (Plan((Wish("vm1", 1, "x"),) * 3), "there are 3 wishes; 2 are the most"),
        (Plan(reserves=(Reserve(-1, "x"),)), "held_bytes of a reserve is -1"),
        (Plan(alerts=(Alert("vm9", "x"),)), "an alert is for guest 'vm9'"),
        (Plan(alerts=(Alert(None, "x", "loud"),)), "level of an alert is a str, neither"),
        (Plan(alerts=(Alert(None, "x"),) * 101), "there are 101 alerts; 100 are the most"),
        (Plan(memory={1, 2}), "memory is not plain JSON data"),
        (Plan(memory=math.nan), "memory is not plain JSON data"),
        (Plan(memory="\ud800"), "memory is not plain JSON data"),
        (Plan(memory=DEEP), "memory is not plain JSON data"),
        (Plan(memory=nested(65)), "memory nests more than 64 levels deep"),
        (Plan(memory={1: 2}), "memory would come back as something else"),
        (Plan(memory=(1,)), "memory would come back as something else"),
        (Plan(memory="x" * (64 << 10)), "memory has 65538 bytes as JSON; 65536 are the most"),
        (without_a_target(), "a part of the plan is missing"),
    ],
)
def test_what_means_nothing_is_refused_with_what_was_wrong(returned, message):
    with pytest.raises(PolicyError) as refused:
        check_plan(returned, VIEW)
    assert message in str(refused.value)


def test_a_plan_that_makes_sense_is_kept_with_whole_bytes():
    plan = Plan(
        (Wish("vm2", 5.9, "half"), Wish("vm1", 1 << 30, "all")),
        (Reserve(7.0, "soon"),),
        (Alert("vm1", "sleeps", "info"),),
        {"seen": [1, None]},
    )
    checked = check_plan(plan, VIEW)
    assert checked.wishes == (Wish("vm2", 5, "half"), Wish("vm1", 1 << 30, "all"))
    assert type(checked.wishes[0].target_bytes) is type(checked.reserves[0].held_bytes) is int
    assert (checked.alerts, checked.memory) == (plan.alerts, plan.memory)


def test_a_list_of_wishes_is_as_good_as_a_tuple():
    assert check_plan(Plan([Wish("vm1", 1, "x")]), VIEW).wishes == (Wish("vm1", 1, "x"),)


def test_memory_that_nests_as_deeply_as_it_may_is_kept_within_all_that_is_kept():
    plan = check_plan(Plan(memory=nested(64)), VIEW)
    assert read_plan(plan_json(plan), VIEW) == plan
    kept = Kept(active=Chosen(name="x", memory=plan.memory))
    assert Kept.model_validate_json(kept.model_dump_json()) == kept


def test_memory_of_just_the_most_is_kept():
    assert check_plan(Plan(memory="x" * ((64 << 10) - 2)), VIEW).memory == "x" * 65534


@given(data=st.data())
@examples(40)
def test_a_checked_plan_crosses_processes_as_it_is(data):
    view = data.draw(views())
    plan = check_plan(data.draw(plans(view)), view)
    assert read_plan(plan_json(plan), view) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "what came is no plan"),
        (b"[]", "what came is no plan"),
        (b'{"wish": []}', "what came is no plan: wish"),
        (b'{"wishes": [{"guest": "vm1", "target_bytes": NaN, "reason": "x"}]}', "not a number of bytes"),
        (b'{"wishes": [{"guest": "vm1", "target_bytes": -5, "reason": "x"}]}', "is -5, outside"),
        (b'{"wishes": [{"guest": "vm9", "target_bytes": 5, "reason": "x"}]}', "guest 'vm9'"),
        (b'{"memory": "' + b"x" * 70_000 + b'"}', "memory has 70002 bytes"),
        (b" " * (MAX_PLAN_BYTES + 1), "are the most"),
        (b'{"memory": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "plan"),
    ],
)
def test_what_a_process_sends_is_checked_anew(text, message):
    with pytest.raises(PolicyError) as refused:
        read_plan(text, VIEW)
    assert message in str(refused.value)


@given(
    text=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda value: json.dumps(value).encode())
)
@examples(80)
def test_whatever_comes_is_a_plan_or_an_error_of_the_policy(text):
    try:
        read_plan(text, VIEW)
    except PolicyError as error:
        assert str(error)  # noqa: PT017 (either is right)


def test_wishes_for_sizes_are_for_balloons():
    guest = a_guest("vm1", memory=1000, least=100, most=700)
    assert Wish.size(guest, 600 * MIB, "x") == Wish("vm1", 400 * MIB, "x")
    assert Wish.balloon(guest, 5000 * MIB, "x") == Wish("vm1", 700 * MIB, "x")
