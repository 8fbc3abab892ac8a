"""The baseline."""

from ..plan import Plan
from ..policy import Policy, PolicySettings
from ..view import View


class Static(Policy):
    """Nothing moves unless it is told to."""

    name = "static"

    def plan(self, view: View, settings: PolicySettings) -> Plan:  # noqa: ARG002 (there is nothing to look at)
        """Wish for nothing."""
        return Plan()
