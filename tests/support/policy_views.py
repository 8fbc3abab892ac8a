"""Views for tests of policies: made by hand in MiB, or of any kind by hypothesis."""

from dataclasses import replace

from hypothesis import strategies as st

from vballoond.policy.guard.state import GuardState
from vballoond.policy.plan import Plan, Wish
from vballoond.policy.view import (
    Fragmentation,
    GuestStatistics,
    GuestView,
    Host,
    View,
)

MIB = 1 << 20
GIB = 1 << 30


def a_guest(name="vm1", *, memory=1024, balloon=0, target=None, least=0, most=None, free=None, **more) -> GuestView:
    """Make a guest; sizes are in MiB. ``free`` makes it one that says what it has free and available."""
    if free is not None:
        values = {"free_memory": int(free * MIB), "available_memory": int(free * MIB)}
        more["statistics"] = GuestStatistics(values=values | more.pop("values", {}), rates_per_s=more.pop("rates", {}))
    return GuestView(
        name=name,
        memory_bytes=int(memory * MIB),
        min_bytes=int(least * MIB),
        max_bytes=int((memory if most is None else most) * MIB),
        target_bytes=int((balloon if target is None else target) * MIB),
        actual_bytes=int(balloon * MIB),
        **more,
    )


def a_view(*guests: GuestView, now_s=1000.0, total=16384, available=8192, memory=None, **host) -> View:
    """Make a view; sizes are in MiB."""
    host = {name: int(size * MIB) for name, size in host.items()}
    return View(
        now_s=float(now_s),
        host=Host(total_bytes=int(total * MIB), available_bytes=int(available * MIB), **host),
        guests=guests,
        memory={} if memory is None else memory,
    )


def again(view: View, plan: Plan, *, passed_s=10.0, **changes) -> View:
    """Return the view a while later, with what the policy remembered in it."""
    return replace(view, now_s=view.now_s + passed_s, memory=plan.memory, **changes)


def wish(name: str, mib: float) -> Wish:
    """Make a wish in MiB of balloon."""
    return Wish(name, int(mib * MIB), "a test wishes so")


def known(view: View) -> GuardState:
    """Return the state of a guard that has known all guests for long, one round ago."""
    return replace(GuardState.knowing(view), at_s=view.now_s - 10)


_STATISTICS = (
    "free_memory",
    "available_memory",
    "total_memory",
    "disk_caches",
    "alloc_stall",
    "direct_reclaim",
    "oom_kill",
    "hugetlb_failures",
)
_COUNT = st.one_of(st.integers(0, 1 << 36), st.integers(0, (1 << 64) - 1))
_RATE = st.one_of(st.just(0.0), st.floats(0, 1e9), st.floats(0, 1e18))
_SIZE = st.one_of(st.integers(0, 4096).map(lambda mib: mib * MIB), st.integers(0, 1 << 44))

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "vm0",
                    "vm1",
                    "host",
                    "used",
                    "averages",
                    "most",
                    "critical",
                    "totals",
                    "integral_us",
                    "arrived_s",
                    "probe_at_s",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@st.composite
def guests(draw, name: str) -> GuestView:
    """Any guest, with bounds that rise, and a target and balloon of any size."""
    memory = draw(_SIZE)
    low, high = sorted((draw(st.integers(0, memory)), draw(st.integers(0, memory))))
    statistics = GuestStatistics(
        values=draw(st.dictionaries(st.sampled_from(_STATISTICS), _COUNT)),
        age_s=draw(st.floats(0, 1e6)),
        stale=draw(st.booleans()),
        rates_per_s=draw(st.dictionaries(st.sampled_from(_STATISTICS), _RATE)),
    )
    lying = Fragmentation(free_huge_share=draw(st.floats(0, 1)), unusable_index=draw(st.floats(0, 1)))
    return GuestView(
        name=name,
        memory_bytes=memory,
        min_bytes=low,
        max_bytes=high,
        target_bytes=draw(st.integers(low, high)) if draw(st.booleans()) else draw(_SIZE),
        actual_bytes=draw(st.integers(low, high)) if draw(st.booleans()) else draw(_SIZE),
        resident_bytes=draw(st.none() | _SIZE),
        statistics=draw(st.none() | st.just(statistics)),
        fragmentation=draw(st.none() | st.just(lying)),
        migrated_frames_per_s=draw(_RATE),
        shares=draw(st.integers(0, 50_000)),
        priority=draw(st.integers(-2, 2)),
        state=draw(st.sampled_from(["running"] * 6 + ["new", "paused", "broken", "silent", "stalled"])),
    )


@st.composite
def views(draw, most: int = 5) -> View:
    """Any view."""
    return View(
        now_s=draw(st.floats(-1e12, 1e12)),
        host=Host(
            total_bytes=draw(_SIZE),
            available_bytes=draw(_SIZE),
            reserve_bytes=draw(st.just(0) | _SIZE),
            reserved_bytes=draw(st.just(0) | _SIZE),
        ),
        guests=tuple(draw(guests(f"vm{number}")) for number in range(draw(st.integers(0, most)))),
        memory=draw(st.just({}) | _JSON),
    )


@st.composite
def plans(draw, view: View) -> Plan:
    """Any plan that a check lets through."""
    wishes = [
        Wish(guest.name, draw(st.integers(0, guest.memory_bytes)), "any")
        for guest in view.guests
        if draw(st.integers(0, 4))
    ]
    return Plan(tuple(draw(st.permutations(wishes))))
