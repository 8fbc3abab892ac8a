"""Decisions: what became of a policy's wishes, or would, and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from ...policy.plan import Alert
from ...runner.runner import Dry
from .base import Out


class ChangeView(Out):
    """A rule made something else of a wish."""

    rule: str
    """Which."""

    target_bytes: int
    """What it left of it."""

    why: str
    """In a sentence."""


class DecisionView(Out):
    """What became of a wish."""

    balloon: str
    """Its name."""

    from_bytes: int
    """Its target before."""

    wished_bytes: int
    """What the policy wished."""

    target_bytes: int
    """What its target became, or would."""

    reason: str = Field(description="The policy's, and those of the rules that made something else of it.")
    changes: list[ChangeView]
    """The rules, in their order."""


class AlertView(Out):
    """Something that people should know."""

    balloon: str | None
    """Which balloon; null: the host."""

    message: str
    """In a sentence."""

    level: str
    """info or warning."""


class PlanView(Out):
    """What a policy would do."""

    name: str
    """Which."""

    settings: dict[str, Any]
    """All of its settings."""

    decisions: list[DecisionView]
    """For each balloon that it has a wish for."""

    alerts: list[AlertView]
    """What it has to say besides."""


class RoundView(Out):
    """A round: one question to a policy, and what came of it."""

    number: int
    """Counted from 1 in each process of the daemon."""

    at: datetime
    """When."""

    policy: str
    """Who was asked."""

    settings: dict[str, Any]
    """With which settings."""

    shadow: bool
    """Whether it was not heard."""

    took_s: float | None
    """How long it took."""

    error: str | None = Field(description="Why it had no plan; null where it had one.")
    decisions: list[DecisionView]
    """For each balloon that it had a wish for."""

    alerts: list[AlertView]
    """What it had to say besides."""

    view: dict[str, Any] | None = Field(description="What it was shown; null unless asked for.")


class RoundList(Out):
    """Rounds that are remembered, the newest first."""

    rounds: list[RoundView]
    """As many as were asked for."""


class Snapshot(Out):
    """What policies see: the host and its guests, as `vballoond record` writes it down."""

    now_s: float
    """Seconds since 1970."""

    host: dict[str, Any]
    """Its memory, pressure and swap traffic."""

    guests: list[dict[str, Any]]
    """Each with its bounds, sizes, statistics and state."""

    memory: Any
    """What the acting policy remembers."""


def plan_view(dry: Dry) -> PlanView:
    """Show what a policy would do."""
    return PlanView(
        name=dry.acting.name,
        settings=dict(dry.acting.settings),
        decisions=[DecisionView.model_validate(decision.data()) for decision in dry.decisions.explanations],
        alerts=[_alert(alert) for alert in dry.decisions.alerts],
    )


def round_view(number: int, record: Mapping[str, Any], balloon: str | None, *, inputs: bool) -> RoundView:
    """Show a round of the log: all of it, or what concerns one balloon."""
    alerts = [
        AlertView(balloon=each["guest"], message=each["message"], level=each["level"]) for each in record["alerts"]
    ]
    return RoundView(
        number=number,
        decisions=[each for each in record["decisions"] if balloon in {None, each["balloon"]}],
        alerts=[each for each in alerts if balloon in {None, each.balloon}],
        view=record["view"] if inputs else None,
        **{name: record[name] for name in ("at", "policy", "settings", "shadow", "took_s", "error")},
    )


def _alert(alert: Alert) -> AlertView:
    return AlertView(balloon=alert.guest, message=alert.message, level=alert.level)
