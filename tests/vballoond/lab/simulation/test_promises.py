from types import SimpleNamespace

import numpy as np
import pytest
from support.policy_views import a_guest, a_view
from support.simulation import MIB

from vballoond.lab.simulation.ledger import Ledger
from vballoond.lab.simulation.promises import BrokenRuleError, check_guest, check_ledger, check_orders
from vballoond.policy.guard.decision import Order

SOUND = Ledger(
    total=1000, own=100, guests_memory=800, targets=300, to_go=-50, untouched=150, available=500, swapped=0, unmet=0
)


def guest(*, held=20, target=20, driver=20, touched=(0,), held_frames=(1,)):
    frames = np.zeros(4, dtype=bool), np.zeros(4, dtype=bool)
    frames[0][list(touched)] = True
    frames[1][list(held_frames)] = True
    return SimpleNamespace(
        name="vm1",
        table=SimpleNamespace(memory=64, max_bytes=40),
        held_bytes=held,
        target_bytes=target,
        driver_bytes=driver,
        touched=lambda: frames[0],
        held=lambda: frames[1],
    )


def test_a_sound_guest_passes_also_at_its_minimum() -> None:
    check_guest(guest(), 1.0)
    check_guest(guest(held=40, target=40, driver=40), 1.0)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"held": 41, "driver": 41}, "below its minimum of 24 bytes: its balloon holds 41 bytes with a target of 20"),
        ({"target": 41}, "with a target of 41, where 40 are the most"),
        ({"driver": 19}, "its driver counts 19 bytes in the balloon, the device's frame map 20"),
        ({"touched": (1, 2), "held_frames": (1, 2, 3)}, "2 frames are in the balloon, and the host has to have them"),
    ],
)
def test_a_guest_that_is_not_is_named_with_time_and_numbers(broken, says) -> None:
    with pytest.raises(BrokenRuleError) as error:
        check_guest(guest(**broken), 340.0)
    assert str(error.value).startswith("at 340 s: guest vm1: ")
    assert says in str(error.value)


def test_orders_within_bounds_and_room_pass() -> None:
    view = a_view(a_guest("a", balloon=512), a_guest("b", balloon=100, target=200), total=1000, available=300)
    check_orders(view, [Order("a", 212 * MIB), Order("b", 1024 * MIB)])


def test_more_than_the_host_has_to_spare_is_not_granted() -> None:
    view = a_view(a_guest("a", balloon=512), total=1000, available=300, reserve_bytes=100, reserved_bytes=50)
    check_orders(view, [Order("a", 362 * MIB)])
    with pytest.raises(BrokenRuleError, match=f"at 1000 s: guests were granted {151 * MIB} bytes.*{150 * MIB} above"):
        check_orders(view, [Order("a", 361 * MIB)])


def test_what_was_granted_before_is_spoken_for() -> None:
    view = a_view(a_guest("a", balloon=512), a_guest("b", balloon=200, target=0), total=1000, available=300)
    check_orders(view, [Order("a", 412 * MIB)])
    with pytest.raises(BrokenRuleError, match="granted"):
        check_orders(view, [Order("a", 411 * MIB)])


def test_an_order_beyond_a_guests_bounds_is_found() -> None:
    with pytest.raises(BrokenRuleError, match="guest a: was ordered a balloon of"):
        check_orders(a_view(a_guest("a", most=100)), [Order("a", 101 * MIB)])


def test_a_byte_that_is_not_explained_is_found_wherever_it_is_missing() -> None:
    check_ledger(SOUND, 1.0)
    assert SOUND.unexplained == 0
    for part in ("own", "guests_memory", "targets", "to_go", "untouched", "available", "swapped", "unmet"):
        wrong = Ledger(**{name: getattr(SOUND, name) + (name == part) for name in SOUND.__slots__})
        with pytest.raises(BrokenRuleError, match="1 bytes are not explained: host 1000"):
            check_ledger(wrong, 1.0)
