"""Which guests starve: they are given memory without delay, and may be given some though they do not follow."""

from ..view import GuestView
from .limits import Limits


def starving(guest: GuestView, limits: Limits) -> bool:
    """Return whether the guest says that it has next to nothing left, waits for memory, or kills for it."""
    if guest.rate("oom_kill") > 0 or guest.rate("alloc_stall") > 0:
        return True
    available = guest.available_bytes
    return available is not None and available < limits.starving_share * guest.size_bytes
