"""Our own: takes free memory in pieces before huge blocks, which needs to know how a guest's memory lies.

A balloon takes single pages. Where all that is free lies in huge blocks, each page taken breaks one. And a guest whose
compaction moves balloon pages is making huge pages just now: a balloon that grows beside it undoes that work, each move
being two requests more.

What it counts on is that compaction can move balloon pages, as Linux's can by default. Free memory in pieces is also
what compaction works with: where balloon pages cannot be moved, taking it costs huge pages. docs/policies.md has
figures: as many huge pages as without a balloon where pages move, but watermark has near as many.

* While the host has less free than the low mark, pieces are taken, of each guest in proportion to what it has of them,
  and of none that is compacting.
* Only below the critical mark, or for the host's reserve and reservations, huge blocks are taken, too, in whole huge
  pages, and of any guest.
* Above the high mark memory is given back, first to where free memory is least usable for huge pages.

The marks are oVirt MoM's 20 % and 5 %, and a quarter more than the first: taking and giving do not chase each other.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from ...sizes import format_size
from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..rising import check_rising
from ..view import MAX_BYTES, GuestView, View

HUGE_PAGE_BYTES: Final = 2 << 20
_MIB: Final = 1 << 20


class HugePages(Policy):
    """Takes free memory that lies in pieces before huge blocks, and lets compaction finish first."""

    name = "huge-pages"

    class Settings(PolicySettings):
        """Marks are shares of the host's memory that is free."""

        high: Annotated[float, Field(gt=0, le=1)] = 0.25
        low: Annotated[float, Field(gt=0, le=1)] = 0.20
        critical: Annotated[float, Field(ge=0, le=1)] = 0.05
        keep_free: Annotated[float, Field(ge=0, le=1)] = 0.05
        """Of a guest's memory: so much stays free, or each allocation would have to reclaim."""
        step_bytes: Annotated[int, Field(ge=HUGE_PAGE_BYTES, le=MAX_BYTES)] = 256 * _MIB
        busy_frames_per_s: Annotated[float, Field(gt=0, le=1e9)] = 512.0
        """Compaction that moves more balloon pages than this, a huge page's worth each second, is let finish."""
        unknown_huge_share: Annotated[float, Field(ge=0, le=1)] = 0.5
        """What is supposed of guests that do not tell how their free memory lies, as virtual machines do not."""

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            check_rising(self, "critical", "low", "high")
            return self

    def plan(self, view: View, settings: Settings) -> Plan:
        """Take, give, or leave all as it is."""
        total, free, spare = view.host.total_bytes, view.host.unreserved_bytes, view.host.spare_bytes
        need = max(int(settings.low * total) - free, -spare)
        if need > 0:
            critical = free < settings.critical * total or spare < 0
            return Plan(_taken(view.able, need, critical, settings))
        over = min(free - int(settings.high * total), spare - int((settings.high - settings.low) * total))
        return Plan(_given(view.able, over, settings)) if over > 0 else Plan()


def _taken(guests: Sequence[GuestView], need: int, critical: bool, settings: HugePages.Settings) -> tuple[Wish, ...]:  # noqa: FBT001 (private)
    calm = [guest for guest in guests if guest.migrated_frames_per_s <= settings.busy_frames_per_s]
    pieces = _in_proportion(calm, need, lambda guest: _pieces(guest, settings), settings)
    wishes = {name: (amount, f"{format_size(amount)} that is free in pieces") for name, amount in pieces.items()}
    rest = need - sum(pieces.values())
    if critical and rest >= HUGE_PAGE_BYTES:
        blocks = _in_proportion(
            guests, rest, lambda guest: _spare(guest, settings) - pieces.get(guest.name, 0), settings
        )
        for name, amount in blocks.items():
            whole = amount - amount % HUGE_PAGE_BYTES
            text = f"the host is critically short: {format_size(whole)} of what is free, huge blocks among it"
            if whole:
                wishes[name] = (pieces.get(name, 0) + whole, text)
    return _moved(guests, {name: amount for name, (amount, _) in wishes.items()}, lambda name: wishes[name][1])


def _given(guests: Sequence[GuestView], over: int, settings: HugePages.Settings) -> tuple[Wish, ...]:
    given: dict[str, int] = {}
    for guest in sorted(guests, key=lambda guest: (-_need_of_blocks(guest), guest.name)):
        amount = min(over, settings.step_bytes, guest.actual_bytes - guest.min_bytes)
        amount -= amount % HUGE_PAGE_BYTES  # in whole huge pages, so that what comes back can become some
        if amount > 0:
            given[guest.name] = -amount
            over -= amount
    return _moved(guests, given, lambda name: f"{format_size(-given[name])} for huge pages: the host has enough free")


def _moved(guests: Sequence[GuestView], amounts: dict[str, int], reason: Callable[[str], str]) -> tuple[Wish, ...]:
    return tuple(
        Wish.balloon(guest, guest.actual_bytes + amounts[guest.name], reason(guest.name))
        for guest in guests
        if amounts.get(guest.name)
    )


def _in_proportion(
    guests: Sequence[GuestView], need: int, has: Callable[[GuestView], int], settings: HugePages.Settings
) -> dict[str, int]:
    amounts = {guest.name: min(max(0, has(guest)), settings.step_bytes) for guest in guests}
    total = sum(amounts.values())
    if total <= need:
        return {name: amount for name, amount in amounts.items() if amount}
    return {name: part for name, amount in amounts.items() if (part := amount * need // total)}


def _pieces(guest: GuestView, settings: HugePages.Settings) -> int:
    """Return what the guest has free outside of huge blocks, less what it is to keep."""
    lying = guest.fragmentation
    huge = lying.free_huge_share if lying is not None else settings.unknown_huge_share
    return min(int((guest.free_bytes or 0) * (1 - huge)), _spare(guest, settings))


def _spare(guest: GuestView, settings: HugePages.Settings) -> int:
    """Return what the guest has free, less what it is to keep, as far as its balloon may grow."""
    spare = (guest.free_bytes or 0) - int(settings.keep_free * guest.memory_bytes)
    return max(0, min(spare, guest.max_bytes - guest.actual_bytes))


def _need_of_blocks(guest: GuestView) -> float:
    """Return how badly the guest lacks blocks: 1 and more where huge pages fail or compaction is at work."""
    lying = guest.fragmentation
    fails = guest.rate("hugetlb_failures") > 0 or guest.migrated_frames_per_s > 0
    return fails + (lying.unusable_index if lying is not None else 0.5)
