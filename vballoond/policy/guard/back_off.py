"""A guest that does not follow rests for a while, and is not asked for more of the same.

Rules of this file:

* What a stalled guest was told to do, and does not do, is taken back: its target comes to what it has. So others can
  have what it was granted and does not take; and one that has no more to give is squeezed no further. Linux's driver
  would go on for ever, five times a second, and take each page that a program frees (``fill_balloon``).
* Only what the guard itself ordered is taken back.
* The other direction stays open: a guest that cannot give may get some back.
"""

from .case import Case
from .decision import Change, moved
from .limits import Limits


def back_off(case: Case, limits: Limits) -> Change | None:
    """Have a stalled guest rest, and leave it as it is."""
    if case.guest.state != "stalled":
        return None
    return _rest(case, limits) or _left(case)


def _rest(case: Case, limits: Limits) -> Change | None:
    guest = case.guest
    rest_bytes = guest.bounded(guest.actual_bytes)
    if case.record.ordered_bytes != case.from_bytes or abs(rest_bytes - case.from_bytes) <= limits.inaccuracy_bytes:
        return None
    if rest_bytes > case.from_bytes:
        why = f"does not take what it was granted: {moved(case.from_bytes, rest_bytes)}"
        return Change("stalled", rest_bytes, why)
    if case.proposed_bytes <= rest_bytes:
        return None  # it is to get some back at once
    return Change("stalled", rest_bytes, f"has no more to give: {moved(case.from_bytes, rest_bytes)}")


def _left(case: Case) -> Change | None:
    guest = case.guest
    way = (guest.target_bytes > guest.actual_bytes) - (guest.target_bytes < guest.actual_bytes)
    if not case.direction or (way and case.direction != way):
        return None
    wait_s = max(0.0, case.record.retry_at_s - case.now_s)
    return Change("stalled", case.from_bytes, f"does not move; is asked again in {wait_s:.0f} s")
