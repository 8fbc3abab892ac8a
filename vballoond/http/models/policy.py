"""Policies: who decides on the sizes of balloons, and who could."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ...policy.view import View
from ...runner.acting import Acting
from ...runner.reports import moment
from ...runner.runner import Status
from .base import In, Out

_NAME = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", examples=["watermark"])


class Choice(In):
    """A policy, and those of its settings that are not to be its defaults."""

    name: Annotated[str, _NAME]
    """By which it is chosen."""

    settings: dict[str, Any] = Field(default={}, description="By the policy's settings_schema.")

    @property
    def acting(self) -> Acting:
        """The policy that is meant."""
        return Acting(self.name, self.settings)


class PolicyChange(In):
    """Who is to decide from now on, who is to be asked beside it without being heard, or both."""

    name: Annotated[str, _NAME] | None = None
    """Who is to decide; null: who does now."""

    settings: dict[str, Any] = Field(
        default={}, description="Its settings that are not to be their defaults, by its settings_schema."
    )
    shadow: Choice | None = Field(
        default=None, description="Asked about the same snapshots, and not heard; null: nobody is."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.name is None and "shadow" not in self.model_fields_set:
            raise ValueError("give 'name', 'shadow', or both")
        if self.name is None and self.settings:
            raise ValueError("'settings' are of the policy that 'name' names: it is missing")
        return self

    @property
    def acting(self) -> Acting | None:
        """The policy that is to act, if another is to."""
        return Acting(self.name, self.settings) if self.name is not None else None


class PlanRequest(In):
    """What a policy would do: which, with which settings, and about what. All as it is now by default."""

    name: Annotated[str, _NAME] | None = Field(default=None, description="The acting one by default.")
    settings: dict[str, Any] | None = Field(
        default=None, description="Those that it acts with, or its defaults, by default."
    )
    snapshot: dict[str, Any] | None = Field(
        default=None, description="As GET /v1/policy/view gives it; one of now by default."
    )


class PlanQuestion(In):
    """A ``PlanRequest`` as the daemon reads it: in one pass, the snapshot included, since that can have megabytes."""

    name: Annotated[str, _NAME] | None = None
    """The same."""

    settings: dict[str, Any] | None = None
    """The same."""

    snapshot: View | None = None
    """Checked as all snapshots are."""


class ChosenPolicy(Out):
    """A policy at work."""

    name: str
    """By which it is chosen."""

    settings: dict[str, Any]
    """Those that were given, and where they were checked already, all others."""

    problem: str | None = Field(description="Why it has no plan; null while it has.")
    set_aside: bool = Field(description="Whether it failed so often that it is not asked until it changes.")


class DifferenceView(Out):
    """A balloon for which the policy in shadow wished something else."""

    balloon: str
    """Its name."""

    acting_bytes: int
    """What the acting one wished it to hold."""

    shadow_bytes: int
    """What the one in shadow wished."""

    acting_reason: str | None
    """Null where it wished for nothing."""

    shadow_reason: str | None
    """The same."""


class ShadowPolicy(ChosenPolicy):
    """A policy that is asked, and not heard."""

    differences: list[DifferenceView]
    """Of the newest round."""


class AvailablePolicy(Out):
    """A policy that could be chosen."""

    name: str
    """By which it is chosen."""

    origin: str = Field(description="built-in, the package, or the file.")
    summary: str
    """What it does, in a sentence."""

    settings_schema: dict[str, Any] = Field(description="JSON Schema of its settings, with their defaults.")


class LeftAlone(Out):
    """A balloon whose target somebody has set by hand."""

    balloon: str
    """Its name."""

    until: datetime
    """When policies may move it again."""


class PolicyView(Out):
    """Who decides on the sizes of balloons."""

    active: ChosenPolicy
    """Who decides."""

    shadow: ShadowPolicy | None
    """Who is asked beside it; null: nobody."""

    available: list[AvailablePolicy]
    """Who could decide, by name."""

    problems: dict[str, str] = Field(description="What could not be loaded, by file or package, and why.")
    interval_s: float
    """How often it is asked."""

    left_alone: list[LeftAlone]
    """Balloons that were set by hand."""


def policy_view(status: Status, interval_s: float) -> PolicyView:
    """Show who decides."""
    shadow = status.shadow
    differences = [
        DifferenceView(
            balloon=each.guest,
            acting_bytes=each.acting_bytes,
            shadow_bytes=each.shadow_bytes,
            acting_reason=each.acting_reason,
            shadow_reason=each.shadow_reason,
        )
        for each in status.differences
    ]
    until_s = sorted(status.by_hand_until_s.items())
    return PolicyView(
        active=ChosenPolicy(**_chosen(status.acting)),
        shadow=None if shadow is None else ShadowPolicy(**_chosen(shadow), differences=differences),
        available=[
            AvailablePolicy(**status.known.policies[name].model_dump()) for name in sorted(status.known.policies)
        ],
        problems=dict(status.known.problems),
        interval_s=interval_s,
        left_alone=[LeftAlone(balloon=name, until=moment(at_s)) for name, at_s in until_s],
    )


def _chosen(acting: Acting) -> dict[str, Any]:
    settings = dict(acting.settings)
    return {"name": acting.name, "settings": settings, "problem": acting.problem, "set_aside": acting.set_aside}
