"""How often a policy may fail. One that has failed too often is set aside, and the last targets hold.

A good plan does not make earlier failures undone: a policy that fails every other time is no good either. A reload of
its file, or another policy, begins anew, with ``ErrorBudget()``.
"""

from dataclasses import dataclass, replace
from typing import Final

FAILURES: Final = 3
"""The failure that is one too many."""
WINDOW_S: Final = 300.0
"""Older failures count no more."""


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Failures of one policy. ``set_aside`` says why it is not asked any more; None while it is."""

    failed_at_s: tuple[float, ...] = ()
    set_aside: str | None = None
    told: str | None = None
    """The failure that was reported last, so that the same one is reported once."""

    def failed(self, now_s: float, report: str) -> "ErrorBudget":
        """Take in that the policy failed, with ``report``."""
        recent = (*(at_s for at_s in self.failed_at_s if now_s - at_s < WINDOW_S), now_s)[-FAILURES:]
        set_aside = self.set_aside
        if len(recent) >= FAILURES and set_aside is None:
            last = report.strip().splitlines()[-1] if report.strip() else "no report"
            set_aside = f"it failed {len(recent)} times within {WINDOW_S:.0f} s, last with: {last}"
        return ErrorBudget(recent, set_aside, report)

    def is_news(self, report: str) -> bool:
        """Whether ``report`` has not been told as the last one."""
        return report != self.told

    def succeeded(self) -> "ErrorBudget":
        """Take in that the policy gave a good plan: the next failure is news."""
        return replace(self, told=None)
