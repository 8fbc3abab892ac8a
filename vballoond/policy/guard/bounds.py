"""A wish is cut to the guest's bounds, and guests that cannot be expected to follow are left alone."""

from typing import Final

from ...sizes import format_size
from ..view import GuestView
from .case import Case
from .decision import Change
from .limits import Limits

_ALONE: Final = {
    "new": "has just come, and is left alone while it boots",
    "paused": "is paused, and is left alone",
    "broken": "is broken, and is left alone",
    "silent": "has not said anything of its memory for too long, and is left alone",
}


def left_alone(case: Case, limits: Limits) -> Change | None:  # noqa: ARG001 (all rules are called alike)
    """Leave a guest as it is that is new, paused, broken or silent."""
    why = _ALONE.get(case.guest.state)
    if why is None or not case.direction:
        return None
    return Change("left alone", case.from_bytes, why)


def bounds(case: Case, limits: Limits) -> Change | None:  # noqa: ARG001 (as above)
    """Keep the balloon within the guest's bounds, and bring one back that is beyond them."""
    cut = case.guest.bounded(case.proposed_bytes)
    return None if cut == case.proposed_bytes else Change("bounds", cut, _why(case.guest, case.proposed_bytes))


def _why(guest: GuestView, proposed_bytes: int) -> str:
    if proposed_bytes > guest.max_bytes:
        left = format_size(guest.smallest_bytes)
        return f"the balloon may have {format_size(guest.max_bytes)}, so that the guest keeps {left}"
    return f"the balloon is to have {format_size(guest.min_bytes)} at the least"
