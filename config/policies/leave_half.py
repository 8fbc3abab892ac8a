"""The shortest policy that does something; docs/policies.md writes one much like it, step by step."""

from typing import Annotated

from pydantic import Field

from vballoond.policy import Plan, Policy, PolicySettings, View, Wish


class LeaveHalf(Policy):
    """Leaves each guest with a part of its memory while the host is short."""

    name = "leave-half"

    class Settings(PolicySettings):
        """What can be set, with its defaults."""

        part: Annotated[float, Field(gt=0, le=1)] = 0.5

    def plan(self, view: View, settings: Settings) -> Plan:
        """Squeeze all guests, or let go of all."""
        short = view.host.spare_bytes < 0
        wishes = []
        for guest in view.able:
            size = guest.memory_bytes * settings.part if short else guest.memory_bytes
            wishes.append(Wish.size(guest, size, "the host is short" if short else "the host has enough"))
        return Plan(tuple(wishes))
