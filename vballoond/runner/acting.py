"""One policy at work, acting or in shadow: what it is to know, and how it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from pydantic import JsonValue

from ..policy.guard.error_budget import ErrorBudget
from ..policy.plan import Plan
from .findings import Known

STATIC: Final = "static"
"""The policy that never has a wish, so nobody needs to ask it."""


@dataclass(frozen=True, slots=True)
class Acting:
    """A policy with its settings, as they were given; ``memory`` is what it returned last."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    memory: JsonValue = field(default_factory=dict)
    budget: ErrorBudget = field(default_factory=ErrorBudget)
    problem: str | None = None
    """Why it has no plan; None while it has."""
    stamp: object = None
    """Of its file, so that a new one begins anew."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to ask it."""
        return self.name == STATIC

    def known_by(self, known: Known) -> Self:
        """Take in which policies there are: one whose file has changed has not failed yet."""
        listed = known.policies.get(self.name)
        if listed is None:  # it may come again as it was
            return self
        stamp = known.stamps.get(listed.origin)
        if stamp == self.stamp:
            return self
        return replace(self, stamp=stamp, budget=ErrorBudget(), problem=None)

    def planned(self, plan: Plan) -> Self:
        """Take in a good plan."""
        return replace(self, memory=plan.memory, budget=self.budget.succeeded(), problem=None)

    def failed(self, now_s: float, report: str) -> Self:
        """Take in that it has no plan."""
        budget = self.budget.failed(now_s, report)
        aside = f"it is set aside, and the last targets hold: {budget.set_aside}\n" if budget.set_aside else ""
        return replace(self, budget=budget, problem=f"{aside}{report}")

    @property
    def set_aside(self) -> bool:
        """Whether it has failed so often that it is not asked any more."""
        return self.budget.set_aside is not None
