"""A policy in shadow beside the acting one: how far their wishes for the same view are apart."""

from dataclasses import dataclass

from .plan import Plan
from .view import View


@dataclass(frozen=True, slots=True)
class Difference:
    """One guest for which the two do not wish the same. Who has no wish wishes for the target that there is."""

    guest: str
    acting_bytes: int
    shadow_bytes: int
    acting_reason: str | None
    shadow_reason: str | None


def compare(view: View, acting: Plan, shadow: Plan) -> tuple[Difference, ...]:
    """Return the guests for which the two plans, both checked and for ``view``, differ."""
    differences = []
    acting_wishes = {wish.guest: wish for wish in acting.wishes}
    shadow_wishes = {wish.guest: wish for wish in shadow.wishes}
    for guest in view.guests:
        one, other = acting_wishes.get(guest.name), shadow_wishes.get(guest.name)
        acting_bytes = int(one.target_bytes) if one else guest.target_bytes
        shadow_bytes = int(other.target_bytes) if other else guest.target_bytes
        if acting_bytes != shadow_bytes:
            reasons = (one.reason if one else None, other.reason if other else None)
            differences.append(Difference(guest.name, acting_bytes, shadow_bytes, *reasons))
    return tuple(differences)
