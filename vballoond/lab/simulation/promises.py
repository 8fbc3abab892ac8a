"""What must hold in each round of a simulation.

Rules of this file:

* What stands under ``check_guest``, ``check_orders`` and ``check_ledger`` holds whatever the policy and the scenario:
  where it does not, guard, device or driver have a defect, and the simulation ends there.
* What a scenario promises may be broken by a policy: that is a finding, and the simulation goes on.
* Either way it is said which guest, when, and with what numbers.
"""

from collections.abc import Iterable
from typing import NoReturn

import numpy as np

from ...policy import View
from ...policy.guard.decision import Order
from ...policy.guard.stalls import outstanding
from ...sizes import format_size
from .ledger import Ledger
from .page_guest import PageGuest


class BrokenRuleError(Exception):
    """Something does not hold that must; the message names guest, time and numbers."""


def check_guest(guest: PageGuest, now_s: float) -> None:
    """Check that a guest has its minimum, and that all who count its pages agree.

    Raises:
        BrokenRuleError: It is not so.
    """
    most = guest.table.max_bytes
    if guest.held_bytes > most or guest.target_bytes > most:
        _break(
            now_s,
            guest.name,
            f"is below its minimum of {guest.table.memory - most} bytes: its balloon holds {guest.held_bytes} bytes "
            f"with a target of {guest.target_bytes}, where {most} are the most",
        )
    if guest.driver_bytes != guest.held_bytes:
        _break(
            now_s,
            guest.name,
            f"its driver counts {guest.driver_bytes} bytes in the balloon, the device's frame map {guest.held_bytes}",
        )
    both = int(np.count_nonzero(guest.touched() & guest.held()))
    if both:
        _break(now_s, guest.name, f"{both} frames are in the balloon, and the host has to have them all the same")


def check_orders(view: View, orders: Iterable[Order]) -> None:
    """Check that targets stay within bounds, and that no more is granted than the host has to spare.

    Raises:
        BrokenRuleError: It is not so.
    """
    guests = {guest.name: guest for guest in view.guests}
    granted = 0
    for order in orders:
        guest = guests[order.guest]
        if not 0 <= order.target_bytes <= guest.max_bytes:
            _break(
                view.now_s,
                guest.name,
                f"was ordered a balloon of {order.target_bytes} bytes, where {guest.max_bytes} are the most",
            )
        granted += max(0, max(0, guest.actual_bytes - order.target_bytes) - guest.outstanding_bytes)
    room = max(0, view.host.spare_bytes - outstanding(view.guests))
    if granted > room:
        _break(
            view.now_s,
            None,
            f"guests were granted {granted} bytes, where the host has {room} above its reserve of "
            f"{view.host.reserve_bytes}, reservations of {view.host.reserved_bytes}, and what was granted before",
        )


def check_ledger(ledger: Ledger, now_s: float) -> None:
    """Check that every byte is explained.

    Raises:
        BrokenRuleError: It is not so.
    """
    if ledger.unexplained:
        _break(now_s, None, f"{ledger.unexplained} bytes are not explained: {ledger}")


def _break(now_s: float, guest: str | None, text: str) -> NoReturn:
    whom = f"guest {guest}: " if guest is not None else ""
    raise BrokenRuleError(f"at {now_s:.0f} s: {whom}{text}")


def reserve_broken(now_s: float, available: int, reserve: int, own: int, resident: int) -> str:
    """Return in words that the host went below its reserve."""
    return (
        f"at {now_s:.0f} s: the host has {format_size(available)} available, below its reserve of "
        f"{format_size(reserve)}: guests take {format_size(resident)}, others {format_size(own)}"
    )


def too_many_turns(now_s: float, guest: str, turns: int, most: int) -> str:
    """Return in words that a target does not settle."""
    return (
        f"at {now_s:.0f} s: guest {guest}: its target has turned {turns} times, where {most} at the most are promised"
    )


def too_many_kills(now_s: float, guest: str, kills: int, most: int) -> str:
    """Return in words that too much was killed."""
    return f"at {now_s:.0f} s: {kills} programs were killed, most in guest {guest}; {most} at the most are promised"
