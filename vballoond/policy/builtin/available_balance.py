"""What guest and host have available above critical is made equal, after ChromeOS's BalanceAvailableBalloonPolicy
(platform2, vm_tools/concierge/balloon_policy.cc).

A guest's critical margin is learned: one that has lived below it twice, with balloon to spare, needs less.

Where it differs: it is a rule for one guest, so several are looked at one after the other, each with what the ones
before leave the host. What a guest has available is its own estimate where it gives one, not free memory and cache,
of which it could not give all. Where both are below their margins, the source's two limits of a change are the wrong
way round, and what it does is not defined; here nothing moves beyond the one of who gives. Bounds, sizes and margins
of a balloon are those of the configuration.
"""  # noqa: D205 (one sentence)

from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from ...sizes import format_size
from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..remembered import fitting, number, part
from ..view import MAX_BYTES, GuestView, View

_MIB: Final = 1 << 20
MAX_CRITICAL_DELTA: Final = 10 * _MIB
"""So much further than to the critical margin a change may go."""
NEAR_CRITICAL: Final = 1 * _MIB
"""From here on every change counts; otherwise it has to be of more than one whole percent."""
BALLOON_FULL_PERCENT: Final = 95


class AvailableBalance(Policy):
    """Makes equal what guest and host have available above a critical margin (ChromeOS)."""

    name = "available-balance"

    class Settings(PolicySettings):
        """Defaults are ChromeOS's; the host's margin is its reserve where none is given."""

        critical_host_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] | None = None
        critical_guest_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] = 400 * _MIB
        guest_available_bias_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] = 0

    def plan(self, view: View, settings: Settings) -> Plan:
        """Go to the middle between each guest and the host."""
        critical = view.host.reserve_bytes
        if settings.critical_host_bytes is not None:
            critical = settings.critical_host_bytes
        above = view.host.available_bytes - view.host.reserved_bytes - critical
        wishes: list[Wish] = []
        memory: dict[str, JsonValue] = {}
        for guest in view.able:
            available = guest.available_bytes
            if available is None:
                continue
            learned = _learn(guest, available, part(view.memory, guest.name), settings)
            memory[guest.name] = {**learned}
            delta = _delta(guest, available, above, int(learned["critical"]), learned["bias"])
            if delta:
                wish = Wish.balloon(guest, guest.actual_bytes + delta, _reason(above, available))
                above += int(wish.target_bytes) - guest.actual_bytes
                wishes.append(wish)
        return Plan(tuple(wishes), memory=fitting(memory))


def _learn(guest: GuestView, available: int, before: Any, settings: AvailableBalance.Settings) -> dict[str, float]:
    most = max(number(before, "most", guest.memory_bytes * 3 // 4), guest.actual_bytes)
    full = guest.actual_bytes * 100 // most if most else 0
    critical = number(before, "critical", settings.critical_guest_bytes)
    earlier = number(before, "available", available)
    if available < critical and full < BALLOON_FULL_PERCENT and number(before, "full", 100) < BALLOON_FULL_PERCENT:
        critical = min(critical, earlier)
    bias = settings.guest_available_bias_bytes * full // 100
    return {"most": most, "critical": critical, "available": available, "full": full, "bias": bias}


def _delta(guest: GuestView, available: int, host_above: int, critical: int, bias: float) -> int:
    guest_above = available - critical - int(bias)
    middle = int((guest_above - host_above) / 2)
    nearer = min(guest_above, host_above)
    if nearer >= NEAR_CRITICAL and abs(middle) * 100 // nearer <= 1:
        return 0
    # Who gives goes a little below its margin and no further, also where both are below theirs.
    if middle > 0:
        return min(middle, max(0, available - critical + MAX_CRITICAL_DELTA))
    return max(middle, min(0, -(host_above + MAX_CRITICAL_DELTA)), -guest.actual_bytes)


def _reason(host_above: int, available: int) -> str:
    host = f"the host has {format_size(host_above)} above critical" if host_above > 0 else "the host is at its margin"
    return f"{host}, the guest {format_size(available)} available"
