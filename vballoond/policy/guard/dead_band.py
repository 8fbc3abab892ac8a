"""A change that is too small is not worth its cost to the guest."""

from ...sizes import format_size
from .case import Case
from .decision import Change
from .limits import Limits


def dead_band(case: Case, limits: Limits) -> Change | None:
    """Leave a balloon as it is that would change by next to nothing, unless that is what the host is short of."""
    change = abs(case.proposed_bytes - case.from_bytes)
    band = max(limits.dead_band_bytes, int(limits.dead_band_share * case.guest.size_bytes))
    if not change or change >= band or (case.host_short and case.direction > 0):
        return None
    return Change("dead band", case.from_bytes, f"a change of {format_size(change)} is below {format_size(band)}")
