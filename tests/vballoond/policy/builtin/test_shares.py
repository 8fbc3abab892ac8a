"""The expectations of Proxmox VE's test/balloontest.pl, in its units of a thousand; sizes are what a guest has left."""

from dataclasses import replace

import pytest

from vballoond.policy import GuestStatistics, GuestView, Host, View
from vballoond.policy.builtin.shares import Shares

MB, GB = 10**6, 10**9
SETTINGS = Shares.Settings(step_bytes=100 * MB)


def a_vm(vmid, shares, size, smallest, free) -> GuestView:
    return GuestView(
        name=vmid,
        memory_bytes=2 * GB,
        max_bytes=2 * GB - smallest,
        target_bytes=2 * GB - size,
        actual_bytes=2 * GB - size,
        statistics=GuestStatistics(values={"free_memory": free}),
        shares=shares,
    )


STATUS_1 = (a_vm("100", 2000, GB, GB, 0), a_vm("101", 1000, GB, GB, 0))
STATUS_2 = (a_vm("100", 2000, 2 * GB, 2 * GB, 0), a_vm("101", 1000, GB, GB, 0))
STATUS_3 = (
    a_vm("100", 2000, 2 * GB, 2 * GB, 0),
    a_vm("101", 1000, GB + 7 * MB, GB, 0),
    a_vm("102", 1000, GB, GB, 512 * MB),
)


def once(guests, goal):
    """Return the sizes in MB that the policy changes, where the host is ``goal`` away from being used to 80 %."""
    host = Host(total_bytes=100 * GB, available_bytes=20 * GB + goal)
    plan = Shares().plan(View(now_s=0.0, host=host, guests=guests), SETTINGS)
    sizes = {guest.name: guest.memory_bytes for guest in guests}
    return {wish.guest: (sizes[wish.guest] - wish.target_bytes) / MB for wish in plan.wishes}


def until_nothing_changes(guests, goal):
    """Let the guests follow, as the original's simulation does: what changes is free memory of the guest."""
    result = {}
    while changes := once(guests, goal):
        result |= changes
        after = tuple(followed(guest, changes) for guest in guests)
        goal -= sum(new.size_bytes - old.size_bytes for new, old in zip(after, guests, strict=True))
        guests = after
    return result, guests


def followed(guest, changes):
    size = int(changes.get(guest.name, guest.size_bytes / MB) * MB)
    free = max(0, guest.statistics.values["free_memory"] + size - guest.size_bytes)
    return replace(
        guest,
        actual_bytes=guest.memory_bytes - size,
        target_bytes=guest.memory_bytes - size,
        statistics=GuestStatistics(values={"free_memory": free}),
    )


@pytest.mark.parametrize(
    ("guests", "goal", "expected"),
    [
        (STATUS_1, 0, {}),
        (STATUS_1, 90, {"100": 1060, "101": 1030}),
        (STATUS_1, 150, {"100": 1100, "101": 1050}),
        (STATUS_1, 270, {"100": 1100, "101": 1090}),
        (STATUS_2, 0, {}),
        (STATUS_2, 18, {"101": 1018}),
        (STATUS_2, 500, {"101": 1100}),
        (STATUS_3, 0, {}),
        (STATUS_3, 11, {"101": 1018}),
        (STATUS_3, 80, {"101": 1087}),
        (STATUS_3, 200, {"101": 1107}),
    ],
)
def test_one_round_gives_what_the_original_expects(guests, goal, expected):
    assert once(guests, goal * MB) == expected


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (180, {"100": 1120, "101": 1060}),
        (270, {"100": 1180, "101": 1090}),
        (600, {"100": 1300, "101": 1300}),
        (900, {"100": 1600, "101": 1300}),
    ],
)
def test_rounds_until_nothing_changes_give_what_the_original_expects(goal, expected):
    assert until_nothing_changes(STATUS_1, goal * MB)[0] == expected


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (-200, {"101": 1200, "102": 1200}),
        (-400, {"101": 1200, "102": 1000}),
        (-593, {"101": 1007, "102": 1000}),
    ],
)
def test_three_guests_grow_and_shrink_again_as_the_original_expects(goal, expected):
    grown, guests = until_nothing_changes(STATUS_3, 593 * MB)
    assert grown == {"101": 1300, "102": 1300}
    assert until_nothing_changes(guests, goal * MB)[0] == expected


def test_where_the_first_guests_only_take_from_each_other_all_are_considered():
    # One goes down and one up by a step, and the goal is as far as before: the third, with memory to spare, helps.
    guests = (a_vm("100", 1000, 1300 * MB, GB, 0), a_vm("101", 1000, GB, GB, 0), a_vm("102", 1000, GB, GB, 512 * MB))
    assert once(guests, 20 * MB) == {"100": 1200, "101": 1100, "102": 1100}


def test_a_guest_without_shares_is_left_out():
    guests = (STATUS_1[0], replace(STATUS_1[1], shares=0))
    assert once(guests, 90 * MB) == {"100": 1090}
    guests = (replace(STATUS_3[1], shares=0), STATUS_3[2])
    assert once(guests, -90 * MB) == {}


def test_within_ten_mebibytes_of_the_goal_nothing_changes():
    assert once(STATUS_1, 10 << 20) == {}
    assert once(STATUS_1, (10 << 20) + 1) != {}
    assert once(STATUS_3, -(10 << 20)) == {}


def test_what_is_reserved_counts_as_used():
    host = Host(total_bytes=100 * GB, available_bytes=20 * GB + 90 * MB, reserved_bytes=90 * MB)
    assert Shares().plan(View(now_s=0.0, host=host, guests=STATUS_1), SETTINGS).wishes == ()


def test_within_the_dead_band_a_host_without_its_reserve_takes_all_the_same():
    host = Host(total_bytes=100 * GB, available_bytes=50 * GB, reserve_bytes=50 * GB + 5 * MB)
    (wish,) = Shares().plan(View(now_s=0.0, host=host, guests=STATUS_3[1:]), SETTINGS).wishes
    assert (wish.guest, 2 * GB - wish.target_bytes) == ("101", GB + 2 * MB)


def test_a_guest_below_its_smallest_size_is_under_pressure_whatever_it_has_free():
    below = a_vm("100", 1000, GB - 100 * MB, GB, 600 * MB)
    assert once((below, a_vm("101", 1000, GB + 90 * MB, GB, 600 * MB)), 90 * MB) == {"100": 1000}
