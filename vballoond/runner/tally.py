"""What rounds came to in figures, since this process began: plain numbers, counted as rounds end, read when asked for.

Rules of this file:

* A round is counted when a policy was asked. One that never has a wish, or is set aside, is asked nothing.
* Nothing here is kept over restarts, and nothing grows with time: wishes are those of the newest round.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..histogram import Histogram
from ..policy.guard.decision import Decision
from ..policy.plan import Alert

if TYPE_CHECKING:
    from .rounds import Asked

_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Up to the longest time limit that a policy can be given."""


@dataclass(slots=True)
class AskedTally:
    """How often a policy in one role was asked, and how that went."""

    rounds: int = 0
    failed: int = 0
    """Rounds in which it had no plan."""
    took_s: Histogram = field(default_factory=lambda: Histogram(_BOUNDS_S))
    last_at_s: float | None = None
    """When it was asked last, in seconds since 1970; None: not yet."""


class Tally:
    """Of all rounds.

    Attributes:
        acting: Of the policy that acts, whichever that was.
        shadow: Of the one beside it.
        inflations: Targets that were raised.
        deflations: Targets that were lowered.
        alerts: What people should know by the newest round, by its level.
        wished_bytes: What the acting policy wished in the newest round, by balloon.
        newest_by: Whose that round was.
    """

    def __init__(self) -> None:
        self.acting: Final = AskedTally()
        self.shadow: Final = AskedTally()
        self.inflations = 0
        self.deflations = 0
        self.alerts: Counter[str] = Counter()
        self.wished_bytes: dict[str, int] = {}
        self.newest_by = ""

    def acted(self, asked: "Asked", at_s: float, decided: Iterable[Decision], alerts: Iterable[Alert]) -> None:
        """Count a round of the policy that acts, and what came of it."""
        _count(self.acting, asked, at_s)
        self.newest_by = asked.acting.name
        wishes = asked.plan.wishes if asked.plan is not None else ()
        self.wished_bytes = {wish.guest: int(wish.target_bytes) for wish in wishes}
        for decision in decided:
            self.inflations += decision.target_bytes > decision.from_bytes
            self.deflations += decision.target_bytes < decision.from_bytes
        self.alerts = Counter(alert.level for alert in alerts)

    def shadowed(self, asked: "Asked", at_s: float) -> None:
        """Count a round of the policy in shadow."""
        _count(self.shadow, asked, at_s)


def _count(tally: AskedTally, asked: "Asked", at_s: float) -> None:
    if asked.acting.idle or (asked.plan is None and asked.error is None):
        return
    tally.rounds += 1
    tally.failed += asked.plan is None
    tally.took_s.observe(asked.took_s)
    tally.last_at_s = at_s
