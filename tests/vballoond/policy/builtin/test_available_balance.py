"""ChromeOS has no test of this policy: the numbers are worked out by hand of balloon_policy.cc."""

from dataclasses import replace

from support.policy_views import MIB, a_guest, a_view, again

from vballoond.policy.builtin.available_balance import AvailableBalance

SETTINGS = AvailableBalance.Settings(critical_host_bytes=200 * MIB)


def target(guest, available, settings=SETTINGS, **view):
    """Return the balloon in MiB that is wished for, or None."""
    plan = AvailableBalance().plan(a_view(guest, available=available, **view), settings)
    return plan.wishes[0].target_bytes / MIB if plan.wishes else None


def test_guest_and_host_meet_in_the_middle():
    # 1000 - 400 above critical in the guest, 400 - 200 on the host: 200 go over.
    assert target(a_guest(memory=4000, balloon=500, free=1000), 400) == 700
    assert target(a_guest(memory=4000, balloon=500, free=600), 800) == 300


def test_a_guest_goes_below_its_critical_margin_by_ten_mebibytes_at_the_most():
    # The middle of 50 above critical and 400 below it is 225.
    settings = AvailableBalance.Settings(critical_host_bytes=800 * MIB)
    assert target(a_guest(memory=4000, balloon=500, free=450), 400, settings) == 560


def test_the_host_goes_below_its_critical_margin_by_ten_mebibytes_at_the_most():
    # The middle of 390 below critical and 50 above it is -220.
    assert target(a_guest(memory=4000, balloon=500, free=10), 250) == 440


def test_one_percent_is_no_reason_to_move():
    assert target(a_guest(memory=8000, balloon=500, free=1419), 1200) is None  # 9 of 1000
    assert target(a_guest(memory=8000, balloon=500, free=1440), 1200) == 520  # 20 of 1000


def test_near_critical_every_change_counts():
    assert target(a_guest(memory=8000, balloon=500, free=402), 200.5) is not None


def test_a_balloon_does_not_become_negative():
    assert target(a_guest(memory=8000, balloon=5, free=500), 2000) == 0


def test_the_bias_counts_as_the_balloon_fills():
    # Half of three quarters of 4000: half of 200.
    settings = AvailableBalance.Settings(critical_host_bytes=200 * MIB, guest_available_bias_bytes=200 * MIB)
    assert target(a_guest(memory=4000, balloon=1500, free=1000), 400, settings) == 1650


def test_a_guest_that_lives_below_its_margin_twice_has_a_lower_one():
    view = a_view(a_guest(memory=4000, balloon=500, free=300), available=200)
    for critical in (400, 300, 300):
        plan = AvailableBalance().plan(view, SETTINGS)
        assert plan.memory["vm1"]["critical"] == critical * MIB
        view = again(view, plan)


def test_one_whose_balloon_is_full_learns_nothing():
    view = a_view(a_guest(memory=4000, balloon=2900, free=300), available=200)
    for _ in range(3):
        plan = AvailableBalance().plan(view, SETTINGS)
        assert plan.memory["vm1"]["critical"] == 400 * MIB
        view = again(view, plan)


def test_guests_share_what_the_host_has_one_after_the_other():
    guests = [a_guest(name, memory=4000, balloon=2000, free=400) for name in ("vm1", "vm2")]
    plan = AvailableBalance().plan(a_view(*guests, available=600), SETTINGS)
    assert [wish.target_bytes / MIB for wish in plan.wishes] == [1800, 1900]


def test_the_margin_of_the_host_is_its_reserve_where_none_is_given():
    view = a_view(a_guest(memory=4000, balloon=500, free=1000), available=400, reserve_bytes=200)
    assert AvailableBalance().plan(view, AvailableBalance.Settings()) == AvailableBalance().plan(
        replace(view, host=replace(view.host, reserve_bytes=0)), SETTINGS
    )
