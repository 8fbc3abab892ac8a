"""Memory by shares, after Proxmox VE's PVE/AutoBalloon.pm (compute_alg1) and its numbers in pvestatd.

The host is to be used to 80 %. What there is to give or to take is laid over the guests' minimums in proportion to
their shares: at first over guests under pressure when giving, and over those with memory to spare when taking. Sizes
are what a guest is left with, as there.

Where it differs: what is reserved counts as used, and goes before the target and the dead band, since there are no
reservations there. A guest that is left with nothing at its smallest is left out there; here its shares count, since
whoever chooses this policy means all guests.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from ...sizes import format_size
from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..view import MAX_BYTES, GuestView, View

_MIB: Final = 1 << 20
ENOUGH_FREE: Final = 0.25
"""A guest with more than this part of its minimum free is not under pressure."""

MAX_ROUNDS: Final = 20
"""Each round a guest reaches a limit, or all is laid out."""


class Shares(Policy):
    """Keeps the host used to 80 %, and divides what that leaves by shares (Proxmox VE)."""

    name = "shares"

    class Settings(PolicySettings):
        """Defaults are Proxmox VE's."""

        used_target: Annotated[float, Field(gt=0, le=1)] = 0.80
        step_bytes: Annotated[int, Field(gt=0, le=MAX_BYTES)] = 100 * _MIB
        dead_band_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] = 10 * _MIB

    def plan(self, view: View, settings: Settings) -> Plan:
        """Give what is free below the target, or take what is used above it."""
        host = view.host
        goal = int(host.total_bytes * settings.used_target) - (host.total_bytes - host.unreserved_bytes)
        goal = min(goal, host.spare_bytes)  # a reserve or reservation beyond that comes first
        guests = [guest for guest in view.able if guest.shares and guest.size_bytes]
        pressed = [guest for guest in guests if not _has_enough(guest)]
        if goal > settings.dead_band_bytes:
            sizes, why = _divide_among(pressed, guests, goal, settings.step_bytes), "free below the host's target"
        elif goal < -settings.dead_band_bytes or host.spare_bytes < 0:
            enough = [guest for guest in guests if _has_enough(guest)]
            sizes, why = _divide_among(enough, guests, goal, settings.step_bytes), "used above the host's target"
        else:
            return Plan()
        reason = f"{format_size(abs(goal))} {why}"
        return Plan(tuple(Wish.size(guest, sizes[guest.name], reason) for guest in guests if guest.name in sizes))


def _has_enough(guest: GuestView) -> bool:
    free = guest.free_bytes or 0
    return free > ENOUGH_FREE * guest.smallest_bytes and guest.size_bytes >= guest.smallest_bytes


def _divide_among(first: Sequence[GuestView], all_guests: Sequence[GuestView], goal: int, step: int) -> dict[str, int]:
    """Return new sizes by name: of the ``first`` guests, and if that does not come nearer to the goal, of all."""
    sizes, rest = _divide(first, goal, step, {})
    if rest >= goal if goal > 0 else rest <= goal:
        sizes, _ = _divide(all_guests, rest, step, sizes)
    now = {guest.name: guest.size_bytes for guest in all_guests}
    return {name: size for name, size in sizes.items() if size != now[name]}


def _divide(guests: Sequence[GuestView], goal: int, step: int, before: dict[str, int]) -> tuple[dict[str, int], int]:
    """Return sizes, and what is left of the goal. What a guest cannot take for its bounds or step goes round again."""
    sizes = {guest.name: guest.size_bytes for guest in guests} | before
    rest = goal
    open_guests = list(guests)
    for _ in range(MAX_ROUNDS):
        total = rest + sum(sizes[guest.name] - guest.smallest_bytes for guest in open_guests)
        shares = sum(guest.shares for guest in open_guests)
        changed = False
        for guest in tuple(open_guests) if rest else ():
            fair = guest.smallest_bytes + int(total * guest.shares / shares)
            size = _stepped(guest, max(guest.smallest_bytes, min(guest.largest_bytes, fair)), goal, step)
            if size is None:
                open_guests.remove(guest)
            elif size != sizes[guest.name]:
                rest -= size - sizes[guest.name]
                sizes[guest.name], changed = size, True
        if not changed:
            break
    return sizes, rest


def _stepped(guest: GuestView, wanted: int, goal: int, step: int) -> int | None:
    """Return how far a guest goes in this round, or None: it has nothing to do with the goal."""
    if wanted > guest.size_bytes and goal > 0:
        return min(wanted, guest.size_bytes + step)
    if wanted < guest.size_bytes:
        return max(wanted, guest.size_bytes - step)
    return None
