"""Prices and limits as in the paper (Waldspurger, OSDI 2002, 5.2 and 6.3)."""

from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view, again

from vballoond.policy.builtin.idle_tax import QUANTA_PER_GUEST, IdleTax, _Guest

SETTINGS = IdleTax.Settings(quantum_bytes=1 * MIB)


def price(size, active, tax, shares=1000):
    return _Guest(a_guest(memory=size, shares=shares), active, size * MIB).price(tax)


def test_an_idle_page_costs_four_times_as_much_at_a_tax_of_three_quarters():
    assert price(100, 0.0, 0.75) == pytest.approx(price(400, 1.0, 0.75))


@pytest.mark.parametrize("active", [0.0, 0.3, 1.0])
def test_the_price_is_that_of_the_paper(active):
    expected = 500 / (256 * MIB * (active + 4 * (1 - active)))
    assert price(256, active, 0.75, shares=500) == pytest.approx(expected)


def test_without_a_tax_only_shares_count():
    assert price(256, 0.0, 0.0) == price(256, 1.0, 0.0)


def squeezed(tax, active, want):
    """Two guests of 256 MiB with the same shares, of which the first is idle, on a host that is short of ``want``."""
    idle = a_guest("idle", memory=256, free=256 - active)
    busy = a_guest("busy", memory=256, free=0)
    high = want / 10_000
    settings = IdleTax.Settings(quantum_bytes=1 * MIB, tax=tax, high=high, soft=high / 2, hard=high / 4, low=high / 8)
    plan = IdleTax().plan(a_view(idle, busy, total=10_000, available=0), settings)
    sizes = {"idle": 256, "busy": 256} | {wish.guest: 256 - wish.target_bytes / MIB for wish in plan.wishes}
    return sizes["idle"], sizes["busy"]


def test_two_guests_with_the_same_shares_get_the_same_without_a_tax():
    assert squeezed(0.0, 60, 152) == (180, 180)


def test_with_a_tax_the_idle_one_gives_and_keeps_what_is_active_and_a_part():
    # Prices meet where active + 4 * idle of the one is all of the other: 60 + 4 * (p - 60) = 360 - p.
    assert squeezed(0.75, 60, 152) == (pytest.approx(108, abs=1), pytest.approx(252, abs=1))


def test_a_tax_of_nearly_all_takes_all_idle_memory_first():
    assert squeezed(0.999, 100, 150) == (pytest.approx(106, abs=1), 256)


def states(*available):
    """Let so many percent of the host be free, one after the other; return what is taken (1) or given (-1)."""
    view = a_view(a_guest(memory=1000, balloon=400, free=500), total=10_000)
    ways = []
    for percent in available:
        view = replace(view, host=replace(view.host, available_bytes=percent * 100 * MIB))
        plan = IdleTax().plan(view, SETTINGS)
        moves = plan.wishes[0].target_bytes - 400 * MIB if plan.wishes else 0
        ways.append((moves > 0) - (moves < 0))
        view = again(view, plan)
    return ways


def test_it_takes_below_four_percent_and_goes_on_until_six():
    assert states(7, 5, 4, 3, 5, 6, 5) == [-1, 0, 0, 1, 1, 0, 0]


def test_below_two_percent_people_are_told():
    plan = IdleTax().plan(a_view(total=10_000, available=150), SETTINGS)
    assert "hard: guests should be paged out" in plan.alerts[0].message
    plan = IdleTax().plan(a_view(total=10_000, available=50), SETTINGS)
    assert "low: guests should be stopped" in plan.alerts[0].message
    assert IdleTax().plan(a_view(total=10_000, available=200), SETTINGS).alerts == ()


def test_a_guest_that_was_busy_a_moment_ago_counts_as_busy():
    view = a_view(a_guest(memory=1000, free=0), total=10_000, available=5000)
    view = again(view, IdleTax().plan(view, SETTINGS))
    view = replace(view, guests=(a_guest(memory=1000, free=1000),))
    assert IdleTax().plan(view, SETTINGS).memory["averages"]["vm1"] == [0.9, 0.5]


def test_a_guest_is_not_squeezed_below_its_smallest_size():
    guest = a_guest(memory=1000, most=10, free=900)
    plan = IdleTax().plan(a_view(guest, total=1000, available=0), SETTINGS)
    assert plan.wishes[0].target_bytes == 10 * MIB


MANY = tuple(a_guest(f"vm{number}", memory=512, most=384, free=400) for number in range(1000))
TEBIBYTE = 1 << 20


def test_on_a_large_host_many_small_guests_give_alike_and_all_that_it_lacks():
    plan = IdleTax().plan(a_view(*MANY, total=4 * TEBIBYTE, available=0), IdleTax.Settings())
    given = [wish.target_bytes / MIB for wish in plan.wishes]
    assert len(given) == 1000
    assert sum(given) == pytest.approx(0.06 * 4 * TEBIBYTE, rel=0.001)
    assert max(given) - min(given) < 64


def test_where_the_host_lacks_more_than_all_can_give_all_give_what_they_can():
    plan = IdleTax().plan(a_view(*MANY, total=10 * TEBIBYTE, available=0), IdleTax.Settings())
    assert [wish.target_bytes for wish in plan.wishes] == [384 * MIB] * 1000


def test_a_guest_that_can_give_or_take_less_than_a_quantum_gives_or_takes_that():
    settings = IdleTax.Settings(quantum_bytes=64 * MIB)
    able = a_guest("able", memory=512, balloon=100, least=90, most=110, free=400)
    both = (able, a_guest("bound", memory=512, balloon=100, least=100, most=100, free=400))
    plan = IdleTax().plan(a_view(*both, total=10_000, available=0), settings)
    assert [(wish.guest, wish.target_bytes / MIB) for wish in plan.wishes] == [("able", 110)]
    rich = a_guest("rich", memory=2048, free=100, shares=50_000)
    plan = IdleTax().plan(a_view(*both, rich, total=10_000, available=0), settings)
    assert {wish.guest: wish.target_bytes / MIB for wish in plan.wishes} == {"able": 110, "rich": 9 * 64}  # of 590
    plan = IdleTax().plan(a_view(*both, total=10_000, available=5000), settings)
    assert [(wish.guest, wish.target_bytes / MIB) for wish in plan.wishes] == [("able", 90)]


def test_guests_that_give_little_in_a_round_bring_the_host_to_its_mark_in_several():
    guests, view, rounds = MANY, a_view(*MANY, total=TEBIBYTE, available=0), 0
    while (plan := IdleTax().plan(view, IdleTax.Settings())).wishes and rounds < 20:
        wished = {wish.guest: wish.target_bytes for wish in plan.wishes}
        held = [min(wished.get(guest.name, 0), guest.actual_bytes + 16 * MIB) for guest in guests]
        guests = tuple(replace(guest, actual_bytes=each) for guest, each in zip(guests, held, strict=True))
        view = a_view(*guests, total=TEBIBYTE, available=sum(held) / MIB, memory=plan.memory)
        rounds += 1
    assert rounds <= 5
    assert view.host.available_bytes == pytest.approx(0.06 * TEBIBYTE * MIB, abs=4 * MIB)


def test_it_takes_no_more_turns_than_quanta_and_guests(monkeypatch):
    turns = []
    monkeypatch.setattr(_Guest, "rank", lambda guest, way, tax: turns.append(guest) or -way * guest.price(tax))
    guests = tuple(a_guest(f"vm{number}", memory=512, most=384, free=number % 500) for number in range(1000))
    assert IdleTax().plan(a_view(*guests, total=32 * TEBIBYTE, available=0), IdleTax.Settings()).wishes
    assert len(turns) <= QUANTA_PER_GUEST * 1000 + 2 * 1000
