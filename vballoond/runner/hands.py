"""Targets that somebody else has set: who sets one by hand means it, so policies leave that balloon alone for a while.

Rules of this file:

* Whoever it was (a command, the API, a client of Firecracker's), it shows in the balloon: there is a resize that no
  policy began.
* What the daemon does by itself is nobody's hand: a target that is cut to what the guest has, or settles.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES

from ..policy.guard.decision import Change, Decision
from ..policy.plan import Plan, Wish
from ..policy.view import View
from ..service.balloon_service import BalloonService

RULE: Final = "set by hand"


@dataclass(frozen=True, slots=True)
class _Seen:
    resize: int
    target_frames: int


class Hands:
    """Knows which balloons are left alone, and until when.

    Args:
        until_s: What an earlier process knew.
    """

    def __init__(self, until_s: Mapping[str, float] | None = None) -> None:
        self._until_s: Final = dict(until_s or {})
        self._seen: dict[str, _Seen] = {}

    def look(self, services: Iterable[BalloonService], now_s: float, by_hand_s: float) -> None:
        """Look for targets that somebody has set since the last look."""
        seen = {service.settings.name: _see(service) for service in services}
        for service in services:
            name = service.settings.name
            if self._touched(service):
                self._until_s[name] = now_s + by_hand_s
        self._seen = seen
        for name in [name for name, until_s in self._until_s.items() if until_s <= now_s]:
            del self._until_s[name]

    def _touched(self, service: BalloonService) -> bool:
        before, now = self._seen.get(service.settings.name), _see(service)
        if before is None or before.resize == now.resize:
            return False
        limit_frames = service.limit_bytes() // FRAME_BYTES
        return not before.target_frames > limit_frames == now.target_frames

    def order(self, service: BalloonService, target_bytes: int) -> bool:
        """Set a target, unless somebody was quicker since the last look; say whether it was set."""
        if self._touched(service):
            return False
        service.set_target(target_bytes // FRAME_BYTES)
        self._seen[service.settings.name] = _see(service)
        return True

    def let_go(self) -> None:
        """Leave nothing alone any more: somebody has chosen who decides from now on."""
        self._until_s.clear()

    @property
    def until_s(self) -> Mapping[str, float]:
        """The balloons that are left alone, and until when."""
        return self._until_s

    def without(self, plan: Plan) -> Plan:
        """Return ``plan`` without wishes for those that are left alone."""
        wishes = tuple(wish for wish in plan.wishes if wish.guest not in self._until_s)
        return Plan(wishes, plan.reserves, plan.alerts, plan.memory)

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


def _see(service: BalloonService) -> _Seen:
    current = service.resizing.current
    return _Seen(current.id if current is not None else 0, service.target_frames)
