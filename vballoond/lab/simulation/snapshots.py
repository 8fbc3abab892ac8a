"""Recorded views of a real host, and what a policy would have decided at each.

**Open loop**: the next view is what was recorded, not what would have come of the decision. So this shows how a policy
sees a host, and not what the host would have become; a scenario shows that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import OperatorError
from ...policy import View
from ...policy.guard.decision import Decision
from ...policy.guard.limits import Limits
from ...policy.guard.state import GuardState
from ...policy.view import read_view
from .chosen_policy import ChosenPolicy
from .policy_process import TIME_LIMIT_S
from .rounds import PolicyRounds

MAX_LINE_BYTES: Final = 16 << 20
MAX_VIEWS: Final = 100_000


@dataclass(frozen=True, slots=True)
class WouldBe:
    """What would have been decided at one view."""

    at_s: float
    decisions: tuple[Decision, ...]
    alerts: tuple[str, ...]
    problem: str | None

    @property
    def moving(self) -> tuple[Decision, ...]:
        """The decisions that change a target."""
        return tuple(decision for decision in self.decisions if decision.target_bytes != decision.from_bytes)

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data, decisions as the API shows them."""
        return {
            "now_s": self.at_s,
            "decisions": [decision.data() for decision in self.decisions],
            "alerts": list(self.alerts),
            "problem": self.problem,
        }


def read_snapshots(path: Path) -> list[View]:
    """Return the views that a file has, one in JSON on each line, as ``vballoond record`` writes them.

    Raises:
        OperatorError: It cannot be read, has none, or a line is none; the message names the line.
    """
    views: list[View] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
                if line.strip():
                    views.append(_view(path, number, line))
                if len(views) > MAX_VIEWS:
                    raise OperatorError(f"{path}: it has more than {MAX_VIEWS} snapshots")
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from error
    if not views:
        raise OperatorError(f"{path}: it has no snapshots: 'vballoond record {path}' writes some")
    return views


def _view(path: Path, number: int, line: bytes) -> View:
    if len(line) > MAX_LINE_BYTES:
        raise OperatorError(f"{path}, line {number}: it has more than {MAX_LINE_BYTES} bytes")
    try:
        return read_view(line)
    except ValueError as error:
        raise OperatorError(f"{path}, line {number}: {error}") from error


def would_decide(
    views: Sequence[View], policy: ChosenPolicy, limits: Limits | None = None, time_limit_s: float = TIME_LIMIT_S
) -> list[WouldBe]:
    """Return what a policy would have decided at each of the views, remembering what it said before.

    Raises:
        OperatorError: There is no such policy, or its settings are wrong.
        PolicyError: Its file cannot be run.
    """
    with policy.at_work(time_limit_s) as (found, settings):
        rounds = PolicyRounds(found, settings, limits or Limits(), GuardState.knowing(views[0]))
        return [_would_be(rounds, view) for view in views]


def _would_be(rounds: PolicyRounds, view: View) -> WouldBe:
    outcome = rounds.decide(view)
    alerts = tuple(f"{alert.guest or 'host'}: {alert.message}" for alert in outcome.alerts)
    if outcome.decisions is None:
        return WouldBe(view.now_s, (), alerts, outcome.problem or rounds.budget.set_aside)
    return WouldBe(view.now_s, outcome.decisions.explanations, alerts, None)
