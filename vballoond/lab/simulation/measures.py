"""What a run comes to, in numbers, and what each is called for people.

Rules of this file:

* Sums over time are taken each virtual second. Means are over the whole run.
* What is ``saved`` is what balloons hold. What guests take beside that is the host's bill, and ``resident``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from guest_driver.mm.vm_events import VmEvent
from protocol.balloon.page_frames import FRAME_BYTES

from .host_memory import HostUse
from .page_guest import PageGuest

GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class GuestTally:
    """What happened to one guest until it went."""

    name: str
    oom_kills: int = 0
    stalls: int = 0
    reclaimed_bytes: int = 0
    """By programs that had to wait for it (direct reclaim)."""
    huge_pages: int = 0
    huge_fallbacks: int = 0
    turns: int = 0

    def counted(self, guest: PageGuest) -> "GuestTally":
        """Return it with what the guest counts now."""
        return replace(
            self,
            oom_kills=guest.event(VmEvent.OOM_KILL),
            stalls=guest.event(VmEvent.ALLOCSTALL),
            reclaimed_bytes=guest.event(VmEvent.PGSTEAL_DIRECT) * FRAME_BYTES,
            huge_pages=guest.event(VmEvent.THP_FAULT_ALLOC),
            huge_fallbacks=guest.event(VmEvent.THP_FAULT_FALLBACK),
        )


@dataclass(frozen=True, slots=True)
class Measures:
    """One run. ``huge_percent`` is None where no program tried for huge pages."""

    saved_gib_s: float
    saved_mean_bytes: int
    resident_mean_bytes: int
    stalls: int
    reclaimed_bytes: int
    oom_kills: int
    huge_percent: float | None
    turns: int
    """Direction changes of all targets together."""
    most_turns: int
    """Of one guest."""
    below_reserve_s: float
    least_available_bytes: int
    swapped_gib_s: float
    pressure_percent: float
    """Share of the time for which something on the host waited for memory (``some``)."""
    unmet_s: float
    """Time for which not even swap sufficed."""
    reservations_ready: int
    reservations_failed: int
    orders: int
    alerts: int
    policy_failures: int
    worst_guest: str
    """The one with the most programs killed, then stalls, then turns."""
    worst_guest_oom_kills: int
    worst_guest_stalls: int


@dataclass(slots=True)
class HostTally:
    """Sums over time."""

    seconds: float = 0.0
    saved: float = 0.0
    resident: float = 0.0
    swapped: float = 0.0
    below_reserve_s: float = 0.0
    unmet_s: float = 0.0
    least_available: int | None = None

    def add(self, use: HostUse, held: int, reserve: int, passed_s: float) -> None:
        """Take in one more while."""
        self.seconds += passed_s
        self.saved += held * passed_s
        self.resident += use.resident_bytes * passed_s
        self.swapped += use.swapped_bytes * passed_s
        self.below_reserve_s += passed_s * (use.available_bytes < reserve)
        self.unmet_s += passed_s * (use.unmet_bytes > 0)
        least = self.least_available
        self.least_available = use.available_bytes if least is None else min(least, use.available_bytes)


@dataclass(slots=True)
class RoundTally:
    """Sums over rounds."""

    orders: int = 0
    alerts: int = 0
    policy_failures: int = 0
    late: int = 0
    reservations_ready: int = 0
    reservations_failed: int = 0


def measures_of(host: HostTally, rounds: RoundTally, guests: list[GuestTally], some_total_us: int) -> Measures:
    """Return what it all comes to."""
    seconds = host.seconds or 1.0
    huge, fallbacks = sum(guest.huge_pages for guest in guests), sum(guest.huge_fallbacks for guest in guests)
    worst = max(guests, key=lambda guest: (guest.oom_kills, guest.stalls, guest.turns), default=GuestTally("-"))
    return Measures(
        saved_gib_s=host.saved / GIB,
        saved_mean_bytes=int(host.saved / seconds),
        resident_mean_bytes=int(host.resident / seconds),
        stalls=sum(guest.stalls for guest in guests),
        reclaimed_bytes=sum(guest.reclaimed_bytes for guest in guests),
        oom_kills=sum(guest.oom_kills for guest in guests),
        huge_percent=100 * huge / (huge + fallbacks) if huge + fallbacks else None,
        turns=sum(guest.turns for guest in guests),
        most_turns=max((guest.turns for guest in guests), default=0),
        below_reserve_s=host.below_reserve_s,
        least_available_bytes=host.least_available or 0,
        swapped_gib_s=host.swapped / GIB,
        pressure_percent=some_total_us / 1e4 / seconds,
        unmet_s=host.unmet_s,
        reservations_ready=rounds.reservations_ready,
        reservations_failed=rounds.reservations_failed,
        orders=rounds.orders,
        alerts=rounds.alerts,
        policy_failures=rounds.policy_failures,
        worst_guest=worst.name,
        worst_guest_oom_kills=worst.oom_kills,
        worst_guest_stalls=worst.stalls,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One measure as people are shown it."""

    title: str
    shown: Callable[[Measures], str]


def _mib(value: int) -> str:
    return f"{value / (1 << 20):.1f} MiB"


ROWS: Final = (
    Row("saved: balloons hold, mean", lambda m: _mib(m.saved_mean_bytes)),
    Row("saved, GiB·s", lambda m: f"{m.saved_gib_s:.2f}"),
    Row("guests take, mean", lambda m: _mib(m.resident_mean_bytes)),
    Row("stalls in guests", lambda m: str(m.stalls)),
    Row("reclaimed by who waits", lambda m: _mib(m.reclaimed_bytes)),
    Row("killed for want of memory", lambda m: str(m.oom_kills)),
    Row("huge pages had", lambda m: "-" if m.huge_percent is None else f"{m.huge_percent:.1f} %"),
    Row("direction changes", lambda m: str(m.turns)),
    Row("  of one guest, at most", lambda m: str(m.most_turns)),
    Row("time below reserve", lambda m: f"{m.below_reserve_s:.0f} s"),
    Row("least available", lambda m: _mib(m.least_available_bytes)),
    Row("swapped, GiB·s", lambda m: f"{m.swapped_gib_s:.2f}"),
    Row("host waits for memory", lambda m: f"{m.pressure_percent:.2f} %"),
    Row("swap not enough", lambda m: f"{m.unmet_s:.0f} s"),
    Row("reservations ready, failed", lambda m: f"{m.reservations_ready}, {m.reservations_failed}"),
    Row("orders", lambda m: str(m.orders)),
    Row("alerts", lambda m: str(m.alerts)),
    Row("failures of the policy", lambda m: str(m.policy_failures)),
    Row("worst guest", lambda m: m.worst_guest),
    Row("  its kills, stalls", lambda m: f"{m.worst_guest_oom_kills}, {m.worst_guest_stalls}"),
)
