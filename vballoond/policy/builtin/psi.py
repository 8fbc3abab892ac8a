"""A guest is squeezed until it begins to wait for memory, after senpai (facebookincubator/senpai, senpai.py).

Senpai reads how long programs waited for memory. A balloon is not told that, so it is estimated of the statistics:
allocations that stalled, and pages that programs had to reclaim themselves (virtio's tags 11 and 15). While the sum is
below 10 ms in six seconds, the guest shrinks by up to 1 %; above, it grows with the square of the excess. A program
that was killed for want of memory counts as pressure without end.

Where it differs: senpai looks each second, and this when it is asked, so a probe comes with the first report after the
six seconds, and what was waited until then counts. What is scaled is what the guest is left with, where senpai scales
its own limit. A guest below the smallest size stays there; senpai would raise its limit to that.
"""

from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..remembered import fitting, number, part
from ..view import MAX_BYTES, GuestView, View

STALL_US: Final = 1000.0
"""How long an allocation that stalls waits: our estimate, a tenth of the target, so that ten stalls are too many."""
RECLAIMED_PAGE_US: Final = 10.0
"""How long a program needs to reclaim one page: our estimate."""
PAGE_BYTES: Final = 4096
SAME_REPORT_S: Final = 0.5
"""Arrivals that are no further apart are one: the time and a report's age are read one after the other, so that the
arrival of one report is not the same to the millisecond each time. What a guest that reports faster waited is counted
with its next report."""
OOM_KILL_US: Final = 1e9
_COUNTERS: Final = {
    "alloc_stall": STALL_US,
    "direct_reclaim": RECLAIMED_PAGE_US / PAGE_BYTES,
    "oom_kill": OOM_KILL_US,
}


class Psi(Policy):
    """Squeezes each guest until it begins to wait for memory (senpai)."""

    name = "psi"

    class Settings(PolicySettings):
        """Names and defaults are senpai's."""

        interval_s: Annotated[float, Field(gt=0, le=86400)] = 6.0
        pressure_us: Annotated[float, Field(gt=0, le=1e9)] = 10_000.0
        max_probe: Annotated[float, Field(ge=0, le=1)] = 0.01
        max_backoff: Annotated[float, Field(ge=0, le=10)] = 1.0
        coeff_probe: Annotated[float, Field(gt=0, le=1000)] = 10.0
        coeff_backoff: Annotated[float, Field(gt=0, le=1000)] = 20.0
        min_size_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] = 100 << 20

    def plan(self, view: View, settings: Settings) -> Plan:
        """Back off at once where there is too much pressure, and probe after a while without."""
        wishes: list[Wish] = []
        memory: dict[str, JsonValue] = {}
        for guest in view.able:
            if guest.statistics is None or guest.statistics.stale:
                continue
            before = part(view.memory, guest.name)
            now = _measured(guest, before, view.now_s, settings)
            waited = now.pop("waited")
            over = now["integral_us"] > settings.pressure_us
            if over or (waited and view.now_s >= now["probe_at_s"]):
                wishes.append(_wish(guest, now["integral_us"], over=over, settings=settings))
                now |= {"integral_us": 0.0, "probe_at_s": view.now_s + settings.interval_s}
            memory[guest.name] = now
        return Plan(tuple(wishes), memory=fitting(memory))


def _measured(guest: GuestView, before: Any, now_s: float, settings: Psi.Settings) -> dict[str, Any]:
    """Return what is remembered of a guest, with the report in it if it is a new one."""
    arrived_s = now_s - (guest.statistics.age_s if guest.statistics else 0.0)
    known_s = number(before, "arrived_s", -1e300)
    fresh = arrived_s > known_s + SAME_REPORT_S
    integral = number(before, "integral_us", 0.0)
    totals = seen = part(before, "totals")
    if fresh:
        totals = {name: total for name in _COUNTERS if (total := guest.statistic(name)) is not None}
        rises = {name: total - number(seen, name, total) for name, total in totals.items()}
        integral += sum(max(0.0, rise) * _COUNTERS[name] for name, rise in rises.items())
    return {
        "integral_us": integral,
        "arrived_s": arrived_s if fresh else known_s,
        "totals": totals,
        "probe_at_s": number(before, "probe_at_s", now_s + settings.interval_s),
        "waited": fresh,
    }


def adjustment(integral_us: float, settings: Psi.Settings) -> float:
    """Return by which part of its size a guest grows, or shrinks (negative)."""
    if integral_us > settings.pressure_us:
        error = integral_us / settings.pressure_us / settings.coeff_backoff
        return min(error * error * settings.max_backoff, settings.max_backoff)
    error = settings.pressure_us / max(integral_us, 1.0) / settings.coeff_probe
    return -min(error * error * settings.max_probe, settings.max_probe)


def _wish(guest: GuestView, integral_us: float, *, over: bool, settings: Psi.Settings) -> Wish:
    size = guest.size_bytes * (1 + adjustment(integral_us, settings))
    verb = "over" if over else "within"
    waited_ms = min(integral_us, OOM_KILL_US) / 1000
    reason = f"programs waited some {waited_ms:.1f} ms for memory, {verb} {settings.pressure_us / 1000:.1f} ms"
    least = min(guest.size_bytes, settings.min_size_bytes)
    return Wish.size(guest, max(size, least), reason)
