"""The record of what was decided, with what went in and why: for the API, for people, and to be played again.

A record is plain JSON data, and holds the whole view, so that another policy can be asked about the same instant.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from .guard.decision import Decisions
from .plan import Plan
from .view import View, view_data


@dataclass(frozen=True, slots=True)
class Round:
    """One question to a policy and what came of it. ``shadow``: it was asked beside the acting one, and not heard."""

    at: datetime
    policy: str
    settings: Mapping[str, Any]
    view: View
    plan: Plan | None
    """None: it failed."""
    decisions: Decisions | None = None
    error: str | None = None
    shadow: bool = False
    took_s: float | None = None

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        plan, decisions = self.plan, self.decisions
        return {
            "at": self.at.isoformat(),
            "policy": self.policy,
            "settings": dict(self.settings),
            "shadow": self.shadow,
            "took_s": self.took_s,
            "error": self.error,
            "view": view_data(self.view),
            "wishes": [asdict(wish) for wish in plan.wishes] if plan else [],
            "reserves": [asdict(reserve) for reserve in plan.reserves] if plan else [],
            "decisions": [decision.data() for decision in decisions.explanations] if decisions else [],
            "orders": [asdict(order) for order in decisions.orders] if decisions else [],
            "alerts": [asdict(alert) for alert in (decisions.alerts if decisions else plan.alerts if plan else ())],
        }
