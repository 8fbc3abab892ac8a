"""What the guard decides, so that people can follow it."""

from dataclasses import dataclass
from typing import Any

from ...sizes import format_size
from ..plan import Alert
from .state import GuardState


@dataclass(frozen=True, slots=True)
class Order:
    """A balloon's target is to be set."""

    guest: str
    target_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """One rule made something else of what was proposed, and why."""

    rule: str
    target_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one wish. Where ``target_bytes`` is not ``wished_bytes`` to the frame, ``changes`` says why."""

    guest: str
    from_bytes: int
    wished_bytes: int
    target_bytes: int
    reason: str
    """The policy's."""
    changes: tuple[Change, ...] = ()

    @property
    def explanation(self) -> str:
        """The policy's reason and the guard's, in one line for people."""
        return "; ".join([self.reason, *(f"{change.rule}: {change.why}" for change in self.changes)])

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data, with the members that the API shows."""
        return {
            "balloon": self.guest,
            "from_bytes": self.from_bytes,
            "wished_bytes": self.wished_bytes,
            "target_bytes": self.target_bytes,
            "reason": self.explanation,
            "changes": [
                {"rule": change.rule, "target_bytes": change.target_bytes, "why": change.why} for change in self.changes
            ],
        }


@dataclass(frozen=True, slots=True)
class Decisions:
    """The outcome of a round. ``orders`` are to be carried out in their order: who gives comes first."""

    orders: tuple[Order, ...]
    explanations: tuple[Decision, ...]
    alerts: tuple[Alert, ...]
    state: GuardState


def moved(from_bytes: int, to_bytes: int) -> str:
    """Return in words what going from one target to another means for the guest."""
    return f"{'takes' if to_bytes > from_bytes else 'gives'} {format_size(abs(to_bytes - from_bytes))}"
