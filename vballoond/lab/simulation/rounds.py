"""The rounds of one policy over a simulated host, as the daemon does them (``vballoond.policy``)."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ...errors import PolicyError
from ...policy import Plan, PolicySettings, View
from ...policy.asking import ask
from ...policy.discover import Found
from ...policy.guard.decide import guard
from ...policy.guard.decision import Decisions
from ...policy.guard.error_budget import ErrorBudget
from ...policy.guard.limits import Limits
from ...policy.guard.state import GuardState
from ...policy.plan import Alert
from ...policy.reservations import Book, Reservation, step
from ...policy.showing import Shown, show

if TYPE_CHECKING:
    from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Outcome:
    """One round. ``view`` is what the policy saw; ``plan`` and ``decisions`` are None where it failed."""

    view: View
    plan: Plan | None
    decisions: Decisions | None
    changed: tuple[Reservation, ...]
    """Reservations that are in another state now."""
    problem: str | None = None
    late: bool = False
    """Whether it failed because its time was over: then another round over the same view might not."""
    alerts: tuple[Alert, ...] = ()
    """What people should know: what the guard says, and what is seen of guests whatever the policy says."""


class PolicyRounds:
    """What goes from one round to the next.

    Args:
        found: The policy.
        settings: Its settings.
        limits: The guard's.
        state: What the guard knows at first.
    """

    def __init__(self, found: Found, settings: PolicySettings, limits: Limits, state: GuardState | None = None) -> None:
        self._found: Final = found
        self._settings: Final = settings
        self._limits: Final = limits
        self._state = state or GuardState()
        self._memory: JsonValue = {}
        self.budget = ErrorBudget()
        self.book = Book()

    def decide(self, view: View) -> Outcome:
        """Do one round over ``view``, whose ``memory`` and reservations are filled in here."""
        shown = self._show(replace(view, memory=self._memory), self._state)
        alerts = shown.alerts
        self.book, changed = step(self.book, shown.view)
        shown = self._show(shown.view, shown.state)
        seen, self._state = shown.view, shown.state
        if self.budget.set_aside is not None:
            return Outcome(seen, None, None, changed, alerts=alerts)
        try:
            plan = ask(self._found, seen, self._settings)
        except PolicyError as error:
            self.budget = self.budget.failed(view.now_s, str(error))
            return Outcome(seen, None, None, changed, str(error), _was_late(error), alerts)
        self.budget = self.budget.succeeded()
        decisions = guard(seen, plan, self._state, self._limits)
        self._state, self._memory = decisions.state, plan.memory
        return Outcome(seen, plan, decisions, changed, alerts=(*decisions.alerts, *alerts))

    def _show(self, view: View, state: GuardState) -> Shown:
        return show(view, state, self.book, self._limits)


def _was_late(error: BaseException | None) -> bool:
    """Whether somebody here ran out of patience: what a script raises in its own process comes as text only."""
    while error is not None and not isinstance(error, TimeoutError):
        error = error.__cause__ or error.__context__
    return error is not None
