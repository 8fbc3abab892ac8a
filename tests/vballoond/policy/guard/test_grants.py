import pytest
from support.policy_views import MIB, a_guest, a_view

from vballoond.policy.guard.grants import Taker, grants


def granted(*takers, held_back=0, others=(), **view):
    """Return the targets in MiB after the host's memory was shared out; takers are guests with what they are to get."""
    listed = [Taker(guest, int(target * MIB)) for guest, target in takers]
    changes = grants(listed, a_view(*(taker.guest for taker in listed), *others, **view), int(held_back * MIB))
    return [
        changes[taker.guest.name].target_bytes / MIB if taker.guest.name in changes else taker.proposed_bytes / MIB
        for taker in listed
    ]


def test_all_get_what_they_are_to_get_where_there_is_enough():
    assert granted((a_guest("a", balloon=500), 400), (a_guest("b", balloon=500), 300), available=300) == [400, 300]


def test_all_get_the_same_part_where_there_is_too_little():
    assert granted((a_guest("a", balloon=500), 400), (a_guest("b", balloon=500), 300), available=150) == [450, 400]


def test_the_reserve_and_reservations_are_not_given_away():
    assert granted((a_guest("a", balloon=500), 0), available=500, reserve_bytes=100, reserved_bytes=150) == [250]
    assert granted((a_guest("a", balloon=500), 0), available=500, reserve_bytes=600) == [500]
    assert granted((a_guest("a", balloon=500), 0), available=500, held_back=450) == [450]


def test_what_was_granted_before_is_spoken_for():
    other = a_guest("b", balloon=500, target=400)
    assert granted((a_guest("a", balloon=500), 0), others=[other], available=150) == [450]


def test_a_guest_that_has_not_taken_all_gets_only_what_is_more():
    assert granted((a_guest("a", balloon=500, target=400), 200), available=150) == [350]


def test_calling_off_what_a_guest_has_not_given_yet_costs_nothing():
    assert granted((a_guest("a", balloon=100, target=500), 200), available=0) == [200]
    assert granted((a_guest("a", balloon=300, target=500), 200), available=0) == [300]


def test_a_higher_priority_comes_first():
    takers = ((a_guest("a", balloon=500), 400), (a_guest("b", balloon=500, priority=5), 400))
    assert granted(*takers, available=150) == [450, 400]
    assert granted(*takers, available=80) == [500, 420]


def test_what_one_calls_off_is_not_given_to_others():
    takers = ((a_guest("a", balloon=100, target=500), 200), (a_guest("b", balloon=500), 400))
    assert granted(*takers, available=50) == [200, 450]


@pytest.mark.parametrize(
    ("available", "why"),
    [
        (100, None),
        (50, "the host has 50 MiB for 100 MiB; what others give counts once it has come"),
        (0, "the host has nothing to give; what others give counts once it has come"),
    ],
)
def test_whose_part_is_cut_is_told_why(available, why):
    guest = a_guest("a", balloon=500)
    change = grants([Taker(guest, 400 * MIB)], a_view(guest, available=available), 0).get("a")
    assert (change and change.why) == why
