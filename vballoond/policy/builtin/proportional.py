"""All guests are squeezed alike, after Xen's squeezed (ocaml/squeezed/lib/squeeze.ml).

What would be free if every guest were at its smallest, less what the host and its reservations want, is laid out so
that ``(size - smallest) / (largest - smallest)`` is the same for all. Guests that are stalled count as they are. A
balloon may stop a little before its target, and that is allowed for twice: once where it is, once where it will be.

Where it differs: lowering before raising, and giving up on who is stuck, are the guard's, for all policies alike. The
guest of a host's own, Xen's domain 0, is none here: what the host needs is its reserve.
"""

from typing import Annotated, Final

from pydantic import Field

from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..view import MAX_BYTES, View

_MIB: Final = 1 << 20


class Proportional(Policy):
    """Squeezes all guests alike between their bounds, and gathers for reservations (Xen squeezed)."""

    name = "proportional"

    class Settings(PolicySettings):
        """Squeezed allows for 4 KiB; here, for what counts as reached."""

        inaccuracy_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] = 1 * _MIB

    def plan(self, view: View, settings: Settings) -> Plan:
        """Lay out what there is over all guests that follow."""
        slack = 2 * settings.inaccuracy_bytes
        freeable = sum(max(0, guest.size_bytes - guest.smallest_bytes - slack) for guest in view.able)
        surplus = max(0, view.host.spare_bytes + freeable)
        ranges = sum(guest.largest_bytes - guest.smallest_bytes for guest in view.able)
        part = min(1.0, surplus / ranges) if ranges else 0.0
        return Plan(
            tuple(
                Wish.size(
                    guest,
                    guest.smallest_bytes + int(part * (guest.largest_bytes - guest.smallest_bytes)),
                    f"each guest has {part:.0%} of the way from its smallest to its largest size",
                )
                for guest in view.able
            )
        )
