from support.simulation import MIB

from vballoond.lab.simulation.host_memory import HostUse
from vballoond.lab.simulation.measures import GuestTally, HostTally, RoundTally, measures_of


def test_the_worst_guest_is_the_one_with_most_kills_then_stalls_then_turns() -> None:
    calm, turning = GuestTally("calm"), GuestTally("turning", turns=3)
    stalled, killed = GuestTally("stalled", stalls=9), GuestTally("killed", oom_kills=1, stalls=2)
    for guests, worst in (
        ([calm, turning], "turning"),
        ([turning, stalled, calm], "stalled"),
        ([stalled, killed], "killed"),
        ([], "-"),
    ):
        assert measures_of(HostTally(), RoundTally(), guests, 0).worst_guest == worst
    measures = measures_of(HostTally(), RoundTally(), [stalled, killed, turning], 0)
    assert (measures.stalls, measures.oom_kills, measures.turns, measures.most_turns) == (11, 1, 3, 3)


def test_sums_are_over_time_and_means_over_all_of_it() -> None:
    tally = HostTally()
    tally.add(HostUse(resident_bytes=40 * MIB, available_bytes=10 * MIB), 0, 10 * MIB, 1.0)
    tally.add(HostUse(resident_bytes=80 * MIB, swapped_bytes=512 * MIB, unmet_bytes=1), 20 * MIB, 10 * MIB, 3.0)
    measures = measures_of(tally, RoundTally(), [], 400_000)
    assert (measures.saved_mean_bytes, measures.resident_mean_bytes) == (15 * MIB, 70 * MIB)
    assert (measures.below_reserve_s, measures.unmet_s, measures.least_available_bytes) == (3.0, 3.0, 0)
    assert (measures.swapped_gib_s, measures.pressure_percent) == (1.5, 10.0)


def test_huge_pages_are_a_share_of_what_was_tried_for() -> None:
    tried = [GuestTally("a", huge_pages=3), GuestTally("b", huge_fallbacks=1)]
    assert measures_of(HostTally(), RoundTally(), tried, 0).huge_percent == 75.0
    assert measures_of(HostTally(), RoundTally(), [GuestTally("a")], 0).huge_percent is None
