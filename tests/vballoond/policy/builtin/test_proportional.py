"""The scenarios a to h of squeezed's own tests, with the machines, sizes and outcomes that they have there.

Each frees memory for a new machine by a reservation, hands 500 of it over, and gives the rest back to the others.
"""

from dataclasses import replace

import pytest
from support.policy_views import MIB, a_guest, a_view
from support.squeezed import (
    TICK_S,
    UNIT,
    IntermittentlyStuck,
    Machine,
    OutOfMemoryError,
    SqueezedHost,
    Stuck,
    WithLimit,
    WithUpperLimit,
)

from vballoond.policy.builtin.proportional import Proportional
from vballoond.policy.guard.decide import guard
from vballoond.policy.guard.limits import Limits
from vballoond.policy.guard.stalls import observe
from vballoond.policy.guard.state import GuardState
from vballoond.policy.reservations import Book, ask, claim, held_bytes, step

# The guard's own caution is off: squeezed has none. What counts as reached, and as stuck, is squeezed's.
LIMITS = Limits(
    step_bytes=1 << 40,
    rate_bytes_per_s=1 << 50,
    dead_band_bytes=0,
    dead_band_share=0.0,
    take_after_give_s=0.0,
    give_after_take_s=0.0,
    inaccuracy_bytes=4 * UNIT + 4096,  # a frame more: targets are whole frames
    stall_after_s=5.0,
    back_off_s=1e6,
    most_back_off_s=1e6,
    new_for_s=0.0,
)
SETTINGS = Proportional.Settings(inaccuracy_bytes=4 * UNIT)
WAIT_S = 60.0


class Squeezer:
    """Runs policy and guard over a host, as whoever runs policies does."""

    def __init__(self, host, settings=SETTINGS, *, guarded=True):
        self.host, self.settings, self.guarded = host, settings, guarded
        self.book, self.state = Book(), GuardState()

    def round(self):
        """Decide, and let a tick pass."""
        observed = observe(self.host.view(), self.state, LIMITS)
        self.book, _ = step(self.book, observed.view)
        host = replace(observed.view.host, reserved_bytes=held_bytes(self.book, observed.view, slush_bytes=0))
        view = replace(observed.view, host=host)
        plan = Proportional().plan(view, self.settings)
        decisions = guard(view, plan, observed.state, LIMITS)
        self.state = decisions.state
        for order in decisions.orders if self.guarded else ():
            self.host.set_target(order.guest, order.target_bytes)
        for wish in () if self.guarded else plan.wishes:
            self.host.set_target(wish.guest, wish.target_bytes)
        self.host.tick()

    def reserve(self, amount):
        self.book, made = ask(self.book, self.host.view(), amount * UNIT, within_s=WAIT_S, keep_s=3600)
        while self.book.get(made.id).open and self.book.get(made.id).state != "ready":
            self.round()
        return self.book.get(made.id)


def machine_a(**more):
    return WithLimit(name="0", smallest=1000, target=1500, largest=2000, actual=1500, limit=1250, **more)


def sticky(name, smallest, size, largest, rate, interval_s):
    return IntermittentlyStuck(
        name=name, smallest=smallest, target=size, largest=largest, actual=size, rate=rate, interval_s=interval_s
    )


def exact(kind, name, smallest, size, largest, **more):
    return kind(name=name, smallest=smallest, target=size, largest=largest, actual=size, inaccuracy=0, **more)


SCENARIOS = {
    "a": (lambda: [machine_a(), sticky("1", 2500, 3500, 4500, 500, 0.25)], 0, 1000),
    "b": (lambda: [sticky("1", 500, 3500, 4500, 100, 3.0), sticky("0", 500, 1500, 2500, 100, 1.5)], 0, 1000),
    "c": (lambda: [exact(Machine, "0", 1000, 1500, 2000), exact(Machine, "1", 2000, 2500, 3000)], 0, 1500),
    "d": (
        lambda: [exact(Machine, "0", 1000, 1500, 2000), exact(WithLimit, "1", 2000, 2500, 3000, limit=2250)],
        0,
        1000,
    ),
    "e": (lambda: [exact(Stuck, "0", 5000, 7000, 7000), exact(Machine, "1", 5000, 6000, 11000)], 0, 1000),
    "h": (
        lambda: [
            WithUpperLimit(name="0", smallest=1000, target=1500, largest=2000, actual=1500, limit=1500),
            Machine(name="1", smallest=1000, target=1500, largest=2000, actual=1500),
        ],
        1000,
        0,
    ),
}


def squeezer(name, **how):
    machines, free, wanted = SCENARIOS[name]
    return Squeezer(SqueezedHost(machines(), free), **how), wanted


@pytest.mark.parametrize("name", ["a", "b", "e"])
def test_memory_is_freed_and_what_is_left_is_given_back(name):
    squeezed, wanted = squeezer(name)
    reservation = squeezed.reserve(wanted)
    assert reservation.state == "ready"
    assert squeezed.host.free >= wanted
    assert squeezed.host.surely_free() >= wanted  # even if all machines go to the upper end of their inaccuracy
    give_back(squeezed, reservation)


def test_h_what_a_machine_cannot_take_another_gets():
    squeezed, _ = squeezer("h")
    for _ in range(round(WAIT_S / TICK_S)):
        squeezed.round()
    assert squeezed.host.machines["0"].actual == 1500
    assert squeezed.host.machines["1"].actual >= 1996
    squeezed.host.free -= 500
    squeezed.state = GuardState()
    for _ in range(round(WAIT_S / TICK_S)):
        squeezed.round()
    assert 0 <= squeezed.host.free <= 32
    assert squeezed.host.surely_free() >= 0


def give_back(squeezed, reservation):
    """Have a machine take 500 of what is free, and the others get the rest: at most 32 remain."""
    squeezed.host.free -= 500
    squeezed.book = claim(squeezed.book, reservation.id, squeezed.host.now_s)
    squeezed.state = GuardState()  # squeezed forgets who was stuck, too
    for _ in range(round(WAIT_S / TICK_S)):
        squeezed.round()
    assert 0 <= squeezed.host.free <= 32
    assert squeezed.host.surely_free() >= 0


@pytest.mark.parametrize(("name", "there"), [("c", "1000 MiB of 1.465 GiB"), ("d", "750 MiB of 1000 MiB")])
def test_what_cannot_be_freed_fails_and_says_how_much_was(name, there):
    squeezed, wanted = squeezer(name)
    reservation = squeezed.reserve(wanted)
    assert reservation.state == "failed"
    assert there in reservation.reason


def test_d_names_the_machine_that_is_stuck():
    squeezed, wanted = squeezer("d")
    assert "nothing is to be had of 1 (stalled)" in squeezed.reserve(wanted).reason


def test_e_the_machine_that_works_is_not_taken_for_stuck():
    squeezed, wanted = squeezer("e")
    squeezed.reserve(wanted)
    assert squeezed.state.guests["0"].stalled_at_s is not None
    assert squeezed.state.guests["1"].stalls == 0


def test_f_without_the_guard_a_machine_takes_what_the_host_does_not_have():
    squeezed, wanted = squeezer("e", guarded=False)
    with pytest.raises(OutOfMemoryError):
        squeezed.reserve(wanted)


def test_g_without_allowing_for_inaccuracy_a_little_is_missing():
    squeezed, wanted = squeezer("a", settings=Proportional.Settings(inaccuracy_bytes=0))
    reservation = squeezed.reserve(wanted)
    assert reservation.state == "failed"
    assert reservation.gathered_bytes == (wanted - 4) * UNIT


def test_all_guests_are_as_far_between_their_bounds():
    one = a_guest("vm1", memory=1000, balloon=0, most=800)
    other = a_guest("vm2", memory=4000, balloon=0, most=2000)
    view = a_view(one, other, available=0, reserved_bytes=1396)
    plan = Proportional().plan(view, Proportional.Settings())
    sizes = [1000 - plan.wishes[0].target_bytes / MIB, 4000 - plan.wishes[1].target_bytes / MIB]
    assert (sizes[0] - 200) / 800 == pytest.approx((sizes[1] - 2000) / 2000, abs=1e-6)
    assert sum(sizes) == pytest.approx(5000 - 1396 - 4, abs=0.01)  # 4: twice the inaccuracy of two guests


def test_plenty_gives_everything_back():
    view = a_view(a_guest(balloon=500, least=100), available=8000)
    assert Proportional().plan(view, Proportional.Settings()).wishes[0].target_bytes == 100 * MIB
