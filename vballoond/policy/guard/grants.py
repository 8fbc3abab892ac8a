"""Who gets what the host has.

Rules of this file:

* **Givers first.** What a guest is to get is granted only of what is available on the host now, above its reserve and
  all reservations. What others were told to give counts when it has come, not before.
* What was granted before and not taken yet is spoken for.
* Where there is too little, a higher priority comes first; within one, all get the same part of what they would.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...sizes import format_size
from ..view import GuestView, View
from .decision import Change
from .stalls import outstanding


@dataclass(frozen=True, slots=True)
class Taker:
    """A guest that is to get memory: its target goes down to ``proposed_bytes``."""

    guest: GuestView
    proposed_bytes: int

    @property
    def claim_bytes(self) -> int:
        """What that lets it take, beyond what it may take already."""
        return max(0, self.guest.actual_bytes - self.proposed_bytes) - self.guest.outstanding_bytes


def grants(takers: Iterable[Taker], view: View, held_back_bytes: int) -> Mapping[str, Change]:
    """Return by name what becomes of the takers that cannot have all. ``held_back_bytes`` are a policy's reserves."""
    room = max(0, view.host.spare_bytes - held_back_bytes - outstanding(view.guests))
    by_priority: dict[int, list[Taker]] = defaultdict(list)
    for taker in takers:
        by_priority[taker.guest.priority].append(taker)
    changes: dict[str, Change] = {}
    for _, group in sorted(by_priority.items(), reverse=True):
        wanted = sum(taker.claim_bytes for taker in group)
        if wanted > room:
            changes |= {taker.guest.name: _part(taker, room, wanted) for taker in group if taker.claim_bytes}
        room = max(0, room - wanted)
    return changes


def _part(taker: Taker, room: int, wanted: int) -> Change:
    granted = taker.claim_bytes * room // wanted
    target = taker.proposed_bytes + taker.claim_bytes - granted
    has = f"the host has {format_size(room)} for {format_size(wanted)}" if room else "the host has nothing to give"
    return Change("givers first", target, f"{has}; what others give counts once it has come")
