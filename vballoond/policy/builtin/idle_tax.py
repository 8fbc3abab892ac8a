"""Idle memory costs more, after VMware ESX (Waldspurger, OSDI 2002, sections 5 and 6).

A guest's price is its shares for each page, where an idle page counts ``1 / (1 - tax)`` times. Memory is taken from the
guest that pays least, and given to the one that pays most, a quantum at a time. What is active is an estimate: what the
guest uses, as the highest of a slow average, a fast one, and now.

The host takes when less than 4 % of it is free, until 6 % are: ESX's states high and soft. Below 2 % and 1 % ESX also
pages out and stops guests; that is not a balloon's to do, so people are told.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Self

from pydantic import Field, JsonValue, model_validator

from ..plan import Alert, Plan, Wish
from ..policy import Policy, PolicySettings
from ..remembered import fitting, numbers, part
from ..rising import check_rising
from ..view import MAX_BYTES, GuestView, View

_MIB: Final = 1 << 20
MIN_QUANTA: Final = 256
QUANTA_PER_GUEST: Final = 4
"""What is to be moved goes in so many pieces at the most, or in the number above if that is more: on a large host all
guests have their turn, and it takes no longer than the guests are many."""


class IdleTax(Policy):
    """Takes memory where it is idle and few shares pay for it, when the host runs short (VMware ESX)."""

    name = "idle-tax"

    class Settings(PolicySettings):
        """Tax and thresholds are ESX's; the averages' weights and the quantum are ours."""

        tax: Annotated[float, Field(ge=0, lt=1)] = 0.75
        high: Annotated[float, Field(ge=0, le=1)] = 0.06
        soft: Annotated[float, Field(ge=0, le=1)] = 0.04
        hard: Annotated[float, Field(ge=0, le=1)] = 0.02
        low: Annotated[float, Field(ge=0, le=1)] = 0.01
        slow_weight: Annotated[float, Field(gt=0, le=1)] = 0.1
        fast_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
        quantum_bytes: Annotated[int, Field(gt=0, le=MAX_BYTES)] = 4 * _MIB

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            check_rising(self, "low", "hard", "soft", "high")
            check_rising(self, "slow_weight", "fast_weight")
            return self

    def plan(self, view: View, settings: Settings) -> Plan:
        """Take up to the high mark, or give what is above it."""
        guests, averages = _measured(view, settings)
        free = view.host.unreserved_bytes
        share = free / max(1, view.host.total_bytes)
        was_short = part(view.memory, "host").get("short") is True
        short = share < settings.soft or view.host.spare_bytes < 0 or (share < settings.high and was_short)
        memory: dict[str, JsonValue] = {"host": {"short": short}, "averages": fitting(averages)}
        over = min(free - int(settings.high * view.host.total_bytes), view.host.spare_bytes)
        if over < 0 and not short:
            return Plan(memory=memory)  # between the marks, on the way down: nothing yet
        _move(guests, over, settings)
        reason = f"{share:.1%} of the host is free, {settings.high:.0%} is meant to be"
        wishes = tuple(
            Wish.size(guest.view, guest.size, f"{reason}; {guest.active:.0%} of the guest's memory is active")
            for guest in guests
            if guest.size != guest.view.size_bytes
        )
        return Plan(wishes, alerts=_alerts(share, settings), memory=memory)


@dataclass(slots=True)
class _Guest:
    view: GuestView
    active: float
    size: int

    def price(self, tax: float) -> float:
        """Return the shares paid for each page; what is active stays active when idle memory is taken."""
        busy = min(self.size, self.active * self.view.size_bytes)
        return self.view.shares / max(1.0, busy + (self.size - busy) / (1 - tax))

    def rank(self, way: int, tax: float) -> float:
        """Return what is lowest for the guest whose turn it is: who pays most takes (1), who pays least gives (-1)."""
        return -way * self.price(tax)

    def room(self, way: int) -> int:
        """Return how much it can still take (1) or give (-1)."""
        room = self.view.largest_bytes - self.size if way > 0 else self.size - self.view.smallest_bytes
        return max(0, room)


def _measured(view: View, settings: IdleTax.Settings) -> tuple[list[_Guest], dict[str, JsonValue]]:
    guests = []
    averages: dict[str, JsonValue] = {}
    for guest in view.able:
        if guest.available_bytes is None or not guest.size_bytes:
            continue
        now = 1 - guest.available_bytes / guest.size_bytes
        slow, fast = [*numbers(part(view.memory, "averages"), guest.name, 2), now, now][:2]
        slow += settings.slow_weight * (now - slow)
        fast += settings.fast_weight * (now - fast)
        averages[guest.name] = [round(slow, 4), round(fast, 4)]
        guests.append(_Guest(guest, max(0.0, min(1.0, max(slow, fast, now))), guest.size_bytes))
    return guests, averages


def _move(guests: Sequence[_Guest], over: int, settings: IdleTax.Settings) -> None:
    """Move whole quanta, or what the guest whose turn it is can still give or take.

    So each turn moves a quantum or is the last one of a guest: there are no more turns than quanta and guests.
    """
    rest, way = abs(over), 1 if over > 0 else -1
    quantum = max(settings.quantum_bytes, math.ceil(rest / max(MIN_QUANTA, QUANTA_PER_GUEST * len(guests))))
    turns = [(guest.rank(way, settings.tax), place) for place, guest in enumerate(guests) if guest.room(way)]
    heapq.heapify(turns)
    while turns and rest >= quantum:
        _, place = turns[0]
        guest = guests[place]
        amount = min(quantum, guest.room(way))
        guest.size += way * amount
        rest -= amount
        if guest.room(way):
            heapq.heapreplace(turns, (guest.rank(way, settings.tax), place))
        else:
            heapq.heappop(turns)


def _alerts(share: float, settings: IdleTax.Settings) -> tuple[Alert, ...]:
    if share >= settings.hard:
        return ()
    state = "low: guests should be stopped" if share < settings.low else "hard: guests should be paged out"
    return (Alert(None, f"{share:.1%} of the host is free ({state}, which a balloon cannot)"),)
