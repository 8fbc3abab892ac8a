"""What a rule looks at: one guest, what is proposed for it, and how urgent that is."""

from collections.abc import Callable
from dataclasses import dataclass

from ..view import GuestView
from .decision import Change
from .limits import Limits
from .starving import starving
from .state import GuestRecord


@dataclass(frozen=True, slots=True)
class Case:
    """``proposed_bytes`` is the target as the rules before left it."""

    guest: GuestView
    record: GuestRecord
    proposed_bytes: int
    now_s: float
    elapsed_s: float | None
    """Since the round before; None in the first."""
    host_short: bool
    """The host has less than its reserve and the reservations want."""

    @property
    def from_bytes(self) -> int:
        """The target that the balloon has."""
        return self.guest.target_bytes

    @property
    def direction(self) -> int:
        """1: takes from the guest; -1: gives to it; 0: nothing is to happen."""
        return (self.proposed_bytes > self.from_bytes) - (self.proposed_bytes < self.from_bytes)

    def starving(self, limits: Limits) -> bool:
        """Whether the guest is."""
        return starving(self.guest, limits)


Rule = Callable[[Case, Limits], Change | None]
"""Returns what is to be proposed instead, always between the target that there is and what was proposed, or None."""
