"""oVirt MoM has no tests of its rules: the numbers are worked out by hand of doc/balloon.rules and its constants."""

import pytest
from support.policy_views import MIB, a_guest, a_view, again

from vballoond.policy.builtin.watermark import Watermark

SETTINGS = Watermark.Settings()


def size_after(guest, available, **view):
    """Return the size in MiB that is wished for, or None."""
    plan = Watermark().plan(a_view(guest, total=1000, available=available, **view), SETTINGS)
    return (guest.memory_bytes - plan.wishes[0].target_bytes) / MIB if plan.wishes else None


def test_below_a_fifth_a_guest_shrinks_by_a_twentieth():
    assert size_after(a_guest(memory=1000, free=900), 199) == 950


def test_with_a_fifth_free_nothing_is_taken():
    assert size_after(a_guest(memory=1000, free=900), 200) is None


def test_a_guest_keeps_free_what_the_host_has_of_the_threshold():
    # 100 of 1000 free: half of the threshold, so half of 20 % of the guest: it uses 860, and keeps 100 beside that.
    assert size_after(a_guest(memory=1000, free=140), 100) == 960


def test_critically_short_the_guest_has_to_swap():
    # 20 of 1000 free: 2 % - 5 % = -3 % of 1000 below what it uses.
    assert size_after(a_guest(memory=1000, free=10), 20) == 960


def test_it_does_not_go_below_the_smallest_size():
    assert size_after(a_guest(memory=1000, most=30, free=900), 100) == 970


def test_what_a_guest_needs_it_keeps_when_it_should_shrink():
    assert size_after(a_guest(memory=1000, free=5), 190) is None


def test_above_a_guest_grows_by_a_twentieth():
    assert size_after(a_guest(memory=1000, balloon=200, free=400), 500) == 840


def test_one_that_is_short_grows_at_once_to_what_it_uses_and_a_fifth():
    # It uses 790 of 800.
    assert size_after(a_guest(memory=1000, balloon=200, free=10), 500) == 950


def test_it_grows_to_its_largest_size_at_the_most():
    assert size_after(a_guest(memory=1000, balloon=130, least=100, free=600), 500) == 900


@pytest.mark.parametrize(("balloon", "moves"), [(2, False), (3, True)])
def test_a_change_below_a_quarter_of_a_percent_is_none(balloon, moves):
    assert (size_after(a_guest(memory=1000, balloon=balloon, free=900), 500) is not None) is moves


def test_ten_samples_are_averaged():
    guest = a_guest(memory=1000, free=900)
    view = a_view(guest, total=1000, available=300)
    for _ in range(30):
        view = again(view, Watermark().plan(view, SETTINGS))
    short = a_view(guest, total=1000, available=0, memory=view.memory)
    for _ in range(3):
        plan = Watermark().plan(short, SETTINGS)
        assert plan.wishes == ()  # 270, 240, 210 of 1000 on average
        short = again(short, plan)
    assert Watermark().plan(short, SETTINGS).wishes[0].reason == "18% of the host is free"


def test_a_guest_that_says_nothing_is_left_alone():
    assert size_after(a_guest(memory=1000), 0) is None


def test_what_is_reserved_is_not_free():
    assert size_after(a_guest(memory=1000, free=900), 500, reserved_bytes=400) == 950
