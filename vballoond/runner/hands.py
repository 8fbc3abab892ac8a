"""Targets that somebody else has set: who sets one by hand means it, so policies leave that balloon alone for a while.

Rules of this file:

* Whoever it was (a command, the API, a client of Firecracker's), it shows in the balloon: a resize says who began it.
  What the daemon does by itself is nobody's hand.
* Each look sees what was set since the one before, on a balloon that is new all that was set.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Final, NamedTuple

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.resize import Author, Terms
from ..policy.guard.decision import Change, Decision
from ..policy.guard.state import GuardState
from ..policy.plan import Plan, Wish
from ..policy.view import View
from ..service.balloon_service import BalloonService

RULE: Final = "set by hand"


class _Seen(NamedTuple):
    service: BalloonService
    """Another one of the same name counts its resizes from 1 again."""
    resize: int


class Hands:
    """Knows which balloons are left alone, and until when.

    Args:
        until_s: What an earlier process knew.
    """

    def __init__(self, until_s: Mapping[str, float] | None = None) -> None:
        self._until_s = dict(until_s or {})
        self._seen: dict[str, _Seen] = {}

    def know(self, services: Iterable[BalloonService]) -> None:
        """Take what is set now as seen."""
        self._seen = {service.settings.name: _Seen(service, _newest(service)) for service in services}

    def look(self, services: Iterable[BalloonService], now_s: float, by_hand_s: float) -> None:
        """Look for targets that somebody has set since the last look."""
        services = list(services)
        until_s = self._until_s | {it.settings.name: now_s + by_hand_s for it in services if self._touched(it)}
        there = {it.settings.name for it in services if not self._begun_anew(it)}
        self._until_s = {name: at_s for name, at_s in until_s.items() if name in there and at_s > now_s}
        self.know(services)

    def _begun_anew(self, service: BalloonService) -> bool:
        """Whether it is another balloon than the one of its name before, and has not even an old target."""
        seen = self._seen.get(service.settings.name)
        return seen is not None and seen.service is not service and not _newest(service)

    def _touched(self, service: BalloonService) -> bool:
        seen = self._seen.get(service.settings.name)
        before = seen.resize if seen is not None and seen.service is service else 0
        since = takewhile(lambda resize: resize.id > before, service.resizing)
        return any(resize.by is Author.OPERATOR for resize in since)

    def order(self, service: BalloonService, target_bytes: int) -> bool:
        """Set a target, unless somebody was quicker; say whether it was set."""
        if service.settings.name in self._until_s or self._touched(service):
            return False
        service.set_target(target_bytes // FRAME_BYTES, Terms(), Author.POLICY)
        return True

    def let_go(self, services: Iterable[BalloonService]) -> None:
        """Leave nothing alone any more, whatever was set until now: somebody has chosen who decides from now on."""
        self._until_s = {}
        self.know(services)

    @property
    def until_s(self) -> Mapping[str, float]:
        """The balloons that are left alone, and until when."""
        return self._until_s

    def without(self, plan: Plan) -> Plan:
        """Return ``plan`` without wishes for those that are left alone."""
        wishes = tuple(wish for wish in plan.wishes if wish.guest not in self._until_s)
        return Plan(wishes, plan.reserves, plan.alerts, plan.memory)

    def without_orders(self, state: GuardState) -> GuardState:
        """Return ``state`` without what the guard ordered of those that are left alone: it would take that back."""
        guests = {
            name: replace(record, ordered_bytes=None) if name in self._until_s else record
            for name, record in state.guests.items()
        }
        return replace(state, guests=guests)

    def explain(self, plan: Plan, view: View) -> tuple[Decision, ...]:
        """Return what became of the wishes for those that are left alone: nothing."""
        targets = {guest.name: guest.target_bytes for guest in view.guests}
        return tuple(
            self._decision(wish, targets[wish.guest], view.now_s)
            for wish in plan.wishes
            if wish.guest in self._until_s and wish.guest in targets
        )

    def _decision(self, wish: Wish, target_bytes: int, now_s: float) -> Decision:
        why = f"somebody has set this target, so it is left alone for another {self._until_s[wish.guest] - now_s:.0f} s"
        change = Change(RULE, target_bytes, why)
        return Decision(wish.guest, target_bytes, int(wish.target_bytes), target_bytes, wish.reason, (change,))


def _newest(service: BalloonService) -> int:
    current = service.resizing.current
    return current.id if current is not None else 0
