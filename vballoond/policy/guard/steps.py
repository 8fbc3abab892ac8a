"""A balloon moves in steps, and no faster than a rate. A guest that starves gets all at once: it may not live to see
the next step."""  # noqa: D205, D209 (one sentence)

from ...sizes import format_size
from .case import Case
from .decision import Change
from .limits import Limits


def steps(case: Case, limits: Limits) -> Change | None:
    """Go a part of the way where it is far."""
    if case.direction < 0 and case.starving(limits):
        return None
    step = max(limits.step_bytes, int(limits.step_share * case.guest.memory_bytes))
    if case.elapsed_s is not None:
        step = min(step, int(limits.rate_bytes_per_s * max(0.0, case.elapsed_s)))
    far = abs(case.proposed_bytes - case.from_bytes)
    if far <= step:
        return None
    return Change(
        "steps", case.from_bytes + case.direction * step, f"{format_size(step)} of {format_size(far)} for now"
    )
