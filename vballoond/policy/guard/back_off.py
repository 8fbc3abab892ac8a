"""A guest that does not follow is not asked for more of the same for a while.

Rules of this file:

* Memory that was granted, and that a stalled guest does not take, is withdrawn, so that others can have it: it may
  still give, but not take later what is somebody else's by then. Only what the guard itself granted is withdrawn.
* The other direction stays open: a guest that cannot give may get some back.
"""

from .case import Case
from .decision import Change, moved
from .limits import Limits


def back_off(case: Case, limits: Limits) -> Change | None:
    """Leave a stalled guest as it is, and take back what it was granted and does not take."""
    guest = case.guest
    if guest.state != "stalled":
        return None
    granted = guest.outstanding_bytes > limits.inaccuracy_bytes and case.record.ordered_bytes == case.from_bytes
    withdrawn = max(case.from_bytes, min(guest.actual_bytes, guest.max_bytes))
    if granted and withdrawn > case.from_bytes:
        return Change("stalled", withdrawn, f"does not take what it was granted: {moved(case.from_bytes, withdrawn)}")
    way = (guest.target_bytes > guest.actual_bytes) - (guest.target_bytes < guest.actual_bytes)
    if not case.direction or (way and case.direction != way):
        return None
    wait_s = max(0.0, case.record.retry_at_s - case.now_s)
    return Change("stalled", case.from_bytes, f"does not move; is asked again in {wait_s:.0f} s")
