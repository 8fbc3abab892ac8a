"""What senpai.py's own description promises of its curve, and how it takes its turns."""

from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view, again

from vballoond.policy.builtin.psi import Psi, adjustment

SETTINGS = Psi.Settings()


@pytest.mark.parametrize(
    ("pressure_us", "part"),
    [
        (0, -0.01),
        (1_000, -0.01),  # the most at a tenth of the target
        (2_000, -0.0025),
        (10_000, -0.0001),
        (20_000, 0.01),
        (100_000, 0.25),
        (200_000, 1.0),  # the most at twenty times the target
        (10_000_000, 1.0),
    ],
)
def test_the_curve_is_senpais(pressure_us, part):
    assert adjustment(pressure_us, SETTINGS) == pytest.approx(part)


def a_quiet_guest(stalls=0, reclaimed=0, kills=0, **more):
    values = {"alloc_stall": stalls, "direct_reclaim": reclaimed, "oom_kill": kills}
    return a_guest(memory=1000, balloon=200, free=300, values=values, **more)


def run(*guests, passed_s=10.0):
    """Let reports come one after the other; return the wish in MiB of size after each, or None."""
    view = a_view(guests[0])
    sizes = []
    for guest in guests:
        view = replace(view, guests=(guest,))
        plan = Psi().plan(view, SETTINGS)
        sizes.append(1000 - plan.wishes[0].target_bytes / MIB if plan.wishes else None)
        view = again(view, plan, passed_s=passed_s)
    return sizes


def test_a_guest_that_does_not_wait_is_squeezed_by_a_hundredth_after_an_interval():
    assert run(a_quiet_guest(), a_quiet_guest()) == [None, pytest.approx(792)]


def test_it_is_not_squeezed_before_the_interval_is_over():
    assert run(*[a_quiet_guest()] * 4, passed_s=3.0) == [None, None, pytest.approx(792), None]


def test_allocations_that_stall_make_it_grow():
    # 100 of them wait 100 ms: ten times the target, half of coeff_backoff, so a quarter.
    assert run(a_quiet_guest(stalls=7), a_quiet_guest(stalls=107)) == [None, pytest.approx(1000)]
    assert run(a_quiet_guest(stalls=7), a_quiet_guest(stalls=47)) == [None, pytest.approx(832)]


def test_pages_that_programs_reclaim_make_it_grow():
    assert run(a_quiet_guest(), a_quiet_guest(reclaimed=4000 * 4096)) == [None, pytest.approx(832)]


def test_a_kill_gives_all_back():
    assert run(a_quiet_guest(kills=1), a_quiet_guest(kills=2)) == [None, 1000]


def test_waiting_adds_up_over_reports_until_it_is_too_much():
    reports = [a_quiet_guest(stalls=stalls) for stalls in (0, 4, 8, 12)]
    sizes = run(*reports, passed_s=1.0)
    assert sizes[:3] == [None] * 3
    assert sizes[3] == pytest.approx(800 * (1 + (1.2 / 20) ** 2))


def test_counters_that_fell_are_of_a_new_boot_and_count_for_nothing():
    assert run(a_quiet_guest(stalls=5000), a_quiet_guest(stalls=0)) == [None, pytest.approx(792)]
    sizes = run(a_quiet_guest(stalls=5000), a_quiet_guest(stalls=0, reclaimed=4000 * 4096))
    assert sizes == [None, pytest.approx(832)]


def test_an_old_report_is_no_reason_to_squeeze():
    view = a_view(a_quiet_guest())
    plan = Psi().plan(view, SETTINGS)
    view = again(view, plan)
    old = replace(view.guests[0].statistics, age_s=10.0)
    assert Psi().plan(replace(view, guests=(replace(view.guests[0], statistics=old),)), SETTINGS).wishes == ()


def test_a_small_guest_is_not_squeezed_below_the_smallest_size_of_senpai():
    guest = a_guest(memory=1000, balloon=899.5, free=50)
    view = a_view(guest)
    view = again(view, Psi().plan(view, SETTINGS))
    assert Psi().plan(view, SETTINGS).wishes[0].target_bytes == 900 * MIB


def test_one_that_is_below_it_already_stays_there():
    view = a_view(a_guest(memory=1000, balloon=950, free=20))
    view = again(view, Psi().plan(view, SETTINGS))
    assert Psi().plan(view, SETTINGS).wishes[0].target_bytes == 950 * MIB


def looks(*arrivals, stalls=None):
    """Look each second at the report that came at that time, as far as the clocks tell; return when it was squeezed."""
    view, squeezed = a_view(now_s=0), []
    for number, arrived_s in enumerate(arrivals):
        guest = a_quiet_guest(stalls=stalls[number] if stalls else 0)
        guest = replace(guest, statistics=replace(guest.statistics, age_s=number + 1 - arrived_s))
        view = replace(view, now_s=float(number + 1), guests=(guest,))
        plan = Psi().plan(view, Psi.Settings(interval_s=1.0))
        squeezed += [(number + 1, wish.reason) for wish in plan.wishes]
        view = replace(view, memory=plan.memory)
    return squeezed


QUIET = "programs waited some 0.0 ms for memory, within 10.0 ms"


@pytest.mark.parametrize(
    "off_s",
    [
        (0, 0, 0, 0, 0),
        (0, 0.001, 0.002, 0.003, 0.004),
        (0, -0.4, 0.4, -0.4, 0.4),
        (-0.2, 0.2, -0.2, 0.2, 0.2),
    ],
)
def test_one_report_is_reason_for_one_probe_however_often_it_is_looked_at(off_s):
    assert looks(0, *(2 + each for each in off_s)) == [(2, QUIET)]


def test_each_report_after_it_is_reason_for_another():
    assert looks(0, 2, 2, 4, 4, 5) == [(2, QUIET), (4, QUIET), (6, QUIET)]


def test_what_was_waited_by_a_report_that_came_too_soon_after_another_counts_with_the_next():
    assert looks(0, 0.4, 0.8, stalls=(0, 5, 5)) == [(3, "programs waited some 5.0 ms for memory, within 10.0 ms")]
