"""What the events say of rounds and reservations: plain data, and times."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from ..policy.guard.decision import Decision
from ..policy.plan import Alert
from ..policy.reservations import Reservation

MOST_TOLD: Final = 256
"""Decisions in one event; all of them are in the log of decisions."""
_SHOWN: Final = ("balloon", "from_bytes", "wished_bytes", "target_bytes", "reason")


def round_report(
    policy: str, decisions: Iterable[Decision], alerts: Sequence[Alert], problem: str | None
) -> dict[str, Any]:
    """Return what an event says of a round: the balloons that moved, and what people should know."""
    moved = [decision.data() for decision in decisions if decision.target_bytes != decision.from_bytes]
    return {
        "policy": policy,
        "decisions": [{name: each[name] for name in _SHOWN} for each in moved[:MOST_TOLD]],
        "alerts": [{"balloon": alert.guest, "message": alert.message, "level": alert.level} for alert in alerts],
        "problem": problem,
    }


def reservation_report(reservation: Reservation) -> dict[str, Any]:
    """Return all that is known of a reservation."""
    return {
        "id": reservation.id,
        "bytes": reservation.wanted_bytes,
        "gathered_bytes": reservation.gathered_bytes,
        "state": reservation.state,
        "reason": reservation.reason,
        "purpose": reservation.purpose,
        "asked_at": moment(reservation.asked_at_s),
        "by": moment(reservation.by_s),
        "changed_at": moment(reservation.changed_at_s),
        "keep_s": reservation.keep_s,
        "claimed_by": reservation.claimed_by,
    }


def moment(at_s: float) -> datetime:
    """Return a time of a snapshot as people and scripts are shown it."""
    return datetime.fromtimestamp(at_s, UTC)
