from collections.abc import Iterator

import numpy as np
import pytest
from support.simulation import GUEST, MIB, a_guest_table

from guest_driver.mm.vm_events import VmEvent
from vballoond.lab.simulation.page_guest import PageGuest


class Life:
    """Guests that run second by second."""

    def __init__(self) -> None:
        self.guests: list[PageGuest] = []

    def begin(self, text: str = GUEST, seed: int = 1, seconds: int = 10) -> PageGuest:
        guest = PageGuest("vm-1", a_guest_table(text), seed, 0.0)
        self.guests.append(guest)
        self.go_on(guest, 0, seconds)
        return guest

    @staticmethod
    def go_on(guest: PageGuest, from_s: int, to_s: int) -> None:
        for second in range(from_s, to_s):
            guest.run(1.0, second + 1.0)


@pytest.fixture
def life() -> Iterator[Life]:
    life = Life()
    yield life
    for guest in life.guests:
        guest.close()


QUIET = '[[guest]]\nname = "vm-1"\nmemory = "32MiB"\nmax = "24MiB"\nboot_share = 0\nworkload = "idle"\n'


def test_what_a_guest_touches_is_the_hosts_burden_and_what_it_frees_stays(life: Life) -> None:
    booted = life.begin(QUIET.replace("boot_share = 0", "boot_share = 0.25"), seconds=1)
    before = booted.resident_bytes()
    assert before >= 16 * MIB
    life.go_on(booted, 1, 10)
    assert booted.resident_bytes() >= before
    free = booted.view(10.0).free_bytes
    assert free > 12 * MIB
    assert free + booted.resident_bytes() > 32 * MIB


def test_a_balloon_gives_back_what_was_touched(life: Life) -> None:
    guest = life.begin()
    before = guest.resident_bytes()
    guest.target_bytes = 16 * MIB
    life.go_on(guest, 10, 12)
    assert guest.held_bytes == guest.driver_bytes == 16 * MIB
    assert guest.resident_bytes() < before
    assert guest.resident_bytes() <= 16 * MIB
    assert not np.any(guest.touched() & guest.held())


def test_what_comes_back_is_a_burden_only_once_it_is_touched(life: Life) -> None:
    guest = life.begin(QUIET)
    guest.target_bytes = 20 * MIB
    life.go_on(guest, 10, 12)
    small = guest.resident_bytes()
    guest.target_bytes = 0
    life.go_on(guest, 12, 14)
    assert guest.held_bytes == 0
    assert guest.resident_bytes() - small < MIB


def test_huge_pages_count_whole(life: Life) -> None:
    loads = '[[guest.load]]\nkind = "anonymous"\nmib = 8\nhuge_pages = true\ngrows_for_s = 0\nstart_s = 2\n'
    guest = life.begin(QUIET.replace('workload = "idle"\n', loads), seconds=1)
    before = guest.resident_bytes()
    life.go_on(guest, 1, 4)
    assert guest.event(VmEvent.THP_FAULT_ALLOC) == 4
    assert guest.resident_bytes() - before == 8 * MIB


def test_a_stuck_guest_follows_once_it_is_stuck_no_more(life: Life) -> None:
    guest = life.begin(GUEST + '[[guest.fault]]\nkind = "stuck"\nstart_s = 5\nstop_s = 20\n')
    guest.target_bytes = 8 * MIB
    life.go_on(guest, 10, 19)
    assert guest.held_bytes == 0
    assert guest.view(19.0).target_bytes == 8 * MIB
    life.go_on(guest, 19, 22)
    assert guest.held_bytes == 8 * MIB


def test_a_silent_guest_has_statistics_that_grow_old(life: Life) -> None:
    guest = life.begin(GUEST + '[[guest.fault]]\nkind = "silent"\nstart_s = 6\n')
    assert guest.view(10.0).statistics.stale is False
    life.go_on(guest, 10, 30)
    view = guest.view(30.0)
    assert (view.statistics.stale, view.state, view.free_bytes) == (True, "running", None)


def test_a_paused_guest_stands_and_lives_on_from_there(life: Life) -> None:
    guest = life.begin(GUEST + '[[guest.fault]]\nkind = "paused"\nstart_s = 10\nstop_s = 20\n')
    before = guest.resident_bytes()
    life.go_on(guest, 10, 18)
    assert guest.view(18.0).state == "paused"
    assert guest.resident_bytes() == before
    life.go_on(guest, 18, 24)
    assert guest.view(24.0).state == "running"
    assert 0 < guest.resident_bytes() - before < 4 * MIB


def test_rates_are_between_the_last_two_reports(life: Life) -> None:
    guest = life.begin(GUEST, seconds=12)
    rates = guest.view(12.0).statistics.rates_per_s
    assert rates["minor_faults"] > 0
    assert "free_memory" not in rates


def test_the_same_seed_is_the_same_guest_and_another_is_not(life: Life) -> None:
    loads = '[[guest.load]]\nkind = "job"\nmin_mib = 2\nmax_mib = 12\ngrows_for_s = 5\n'
    one, again, other = (life.begin(GUEST + loads, seed, 40) for seed in (1, 1, 2))
    assert np.array_equal(one.touched(), again.touched())
    assert one.view(40.0) == again.view(40.0)
    assert not np.array_equal(one.touched(), other.touched())


def test_with_deflate_on_oom_a_program_is_given_balloon_pages_before_it_is_killed(life: Life) -> None:
    text = QUIET + '[[guest.load]]\nkind = "anonymous"\nmib = 20\ngrows_for_s = 5\nstart_s = 5\n'
    kills = []
    for option in ("", "deflate_on_oom = true\n"):
        guest = life.begin(text.replace("boot_share", option + "boot_share"), seconds=1)
        guest.target_bytes = 20 * MIB
        life.go_on(guest, 1, 15)
        kills.append(guest.event(VmEvent.OOM_KILL))
    assert kills[0] > 0
    assert kills[1] == 0


def test_it_is_shown_how_much_of_the_free_memory_lies_in_pieces(life: Life) -> None:
    whole = life.begin(QUIET).view(10.0).fragmentation
    torn = '[[guest.load]]\nkind = "file-cache"\nmib_per_s = 8\n'
    pieces = life.begin(QUIET + torn).view(10.0).fragmentation
    assert 0 <= pieces.free_huge_share < whole.free_huge_share < 1
    assert pieces.unusable_index == 1 - pieces.free_huge_share


def test_pages_that_the_guest_moved_out_of_its_balloon_are_shown_as_a_rate_since_the_last_look(life: Life) -> None:
    guest = life.begin(QUIET)
    assert guest.view(10.0).migrated_frames_per_s == 0
    guest._device.device.counters.migrated_frames += 40
    assert guest.view(20.0).migrated_frames_per_s == 4
    assert guest.view(30.0).migrated_frames_per_s == 0
