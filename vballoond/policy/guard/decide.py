"""One round: from a plan to orders.

Rules of this file:

* A wish is cut to the guest's bounds; each rule after that may only bring a target nearer to the one that there is, or
  to what a stalled guest has. So whatever a plan says, a target within the bounds stays within them.
* Where an order differs from a wish by a frame or more, the decision says which rule did that, and why.
* The same view, plan, state and limits give the same decisions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from protocol.balloon.page_frames import FRAME_BYTES

from ..plan import Plan, Wish
from ..view import GuestView, View
from .back_off import back_off
from .bounds import bounds, left_alone
from .case import Case, Rule
from .dead_band import dead_band
from .decision import Change, Decision, Decisions, Order
from .grants import Taker, grants
from .limits import Limits
from .see_saw import see_saw
from .stalls import observe
from .state import GuardState, GuestRecord
from .steps import steps

RULES: Final[tuple[Rule, ...]] = (left_alone, bounds, back_off, see_saw, dead_band, steps)
NO_WISH: Final = "the policy has no wish"


@dataclass(frozen=True, slots=True)
class _Proposal:
    guest: GuestView
    wish: Wish
    target_bytes: int
    changes: tuple[Change, ...] = ()

    def after(self, change: Change | None) -> "_Proposal":
        if change is None:
            return self
        return replace(self, target_bytes=change.target_bytes, changes=(*self.changes, change))


def guard(view: View, plan: Plan, state: GuardState, limits: Limits) -> Decisions:
    """Decide what becomes of ``plan``, which was checked, and was made for ``view`` or for one shortly before.

    Wishes for guests that are gone are passed over. Guests that the policy has no wish for stay as they are, except
    that a stalled one rests: its target comes to what it has.
    """
    observed = observe(view, state, limits)
    view = observed.view
    proposals = [_ruled(guest, wish, view, observed.state, limits) for guest, wish in _wished(view, plan)]
    proposals = _granted(proposals, view, plan)
    decisions = tuple(
        _decision(proposal) for proposal in proposals if proposal.wish.reason != NO_WISH or proposal.changes
    )
    orders = _orders(decisions)
    return Decisions(orders, decisions, (*plan.alerts, *observed.alerts), _after(observed.state, orders, view))


def _wished(view: View, plan: Plan) -> Iterable[tuple[GuestView, Wish]]:
    wishes = {wish.guest: wish for wish in plan.wishes}
    for guest in view.guests:
        wish = wishes.get(guest.name)
        if wish is not None:
            yield guest, wish
        elif guest.state == "stalled":
            yield guest, Wish(guest.name, guest.target_bytes, NO_WISH)


def _ruled(guest: GuestView, wish: Wish, view: View, state: GuardState, limits: Limits) -> _Proposal:
    proposal = _Proposal(guest, wish, int(wish.target_bytes))
    elapsed_s = None if state.at_s is None else view.now_s - state.at_s
    for rule in RULES:
        case = Case(
            guest, state.guests[guest.name], proposal.target_bytes, view.now_s, elapsed_s, view.host.spare_bytes < 0
        )
        change = rule(case, limits)
        proposal = proposal.after(change)
        if change is not None and change.target_bytes == guest.target_bytes:
            return proposal
        if rule is back_off and change is not None:
            return proposal  # to rest is nothing new for the guest, so it needs no steps
    return proposal


def _granted(proposals: list[_Proposal], view: View, plan: Plan) -> list[_Proposal]:
    takers = [
        Taker(proposal.guest, proposal.target_bytes)
        for proposal in proposals
        if proposal.target_bytes < proposal.guest.target_bytes
    ]
    held_back = sum(int(reserve.held_bytes) for reserve in plan.reserves)
    changes = grants(takers, view, held_back)
    cut = [proposal.after(changes.get(proposal.guest.name)) for proposal in proposals]
    return [_in_whole_frames(proposal) for proposal in cut]


def _in_whole_frames(proposal: _Proposal) -> _Proposal:
    """Round towards the target that there is, so that no rule is undone by it."""
    target, current = proposal.target_bytes, proposal.guest.target_bytes
    rest = target % FRAME_BYTES
    if not rest or target == current:
        return proposal
    rounded = max(current, target - rest) if target > current else min(current, target + FRAME_BYTES - rest)
    return replace(proposal, target_bytes=rounded)


def _decision(proposal: _Proposal) -> Decision:
    guest, wish = proposal.guest, proposal.wish
    wished = int(wish.target_bytes)
    return Decision(guest.name, guest.target_bytes, wished, proposal.target_bytes, wish.reason, proposal.changes)


def _orders(decisions: Iterable[Decision]) -> tuple[Order, ...]:
    moving = [decision for decision in decisions if decision.target_bytes != decision.from_bytes]
    givers_first = sorted(moving, key=lambda decision: decision.target_bytes < decision.from_bytes)
    return tuple(Order(decision.guest, decision.target_bytes) for decision in givers_first)


def _after(state: GuardState, orders: Iterable[Order], view: View) -> GuardState:
    targets = {order.guest: order.target_bytes for order in orders}
    guests = {guest.name: guest for guest in view.guests}
    records = {
        name: _ordered(record, guests[name], targets[name], view.now_s) if name in targets else record
        for name, record in state.guests.items()
    }
    return GuardState(at_s=view.now_s, guests=records)


def _ordered(record: GuestRecord, guest: GuestView, target_bytes: int, now_s: float) -> GuestRecord:
    direction: Literal[-1, 1] = 1 if target_bytes > guest.target_bytes else -1
    # To rest is no turn: the balloon did not move for what is taken back.
    taken_back = sorted((guest.target_bytes, target_bytes, guest.actual_bytes))[1] == target_bytes
    if guest.state == "stalled" and taken_back:
        return replace(record, ordered_bytes=target_bytes)
    return replace(record, ordered_bytes=target_bytes, ordered_at_s=now_s, direction=direction)
