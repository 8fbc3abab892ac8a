"""A balloon that went one way does not turn at once. What is urgent turns it: a guest that starves, a host that is
short."""  # noqa: D205, D209 (one sentence)

from .case import Case
from .decision import Change
from .limits import Limits


def see_saw(case: Case, limits: Limits) -> Change | None:
    """Leave a balloon as it is that went the other way a short while ago."""
    if not case.direction or case.record.direction != -case.direction:
        return None
    if case.direction > 0:
        urgent, wait_s, did = case.host_short, limits.take_after_give_s, "shrank"
    else:
        urgent, wait_s, did = case.starving(limits), limits.give_after_take_s, "grew"
    since_s = case.now_s - case.record.ordered_at_s
    if urgent or since_s >= wait_s:
        return None
    return Change("see-saw", case.from_bytes, f"the balloon {did} {since_s:.0f} s ago; it turns after {wait_s:.0f} s")
