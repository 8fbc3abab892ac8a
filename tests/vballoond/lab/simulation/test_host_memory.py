import pytest
from support.simulation import MIB

from vballoond.lab.simulation.host_memory import HostMemory
from vballoond.lab.simulation.host_pressure import SWAP_PAGE_S, WANTED_AGAIN_PER_S, HostPressure
from vballoond.lab.simulation.host_scenario import HostLoad, SimulatedHost

HOST = SimulatedHost(memory="100MiB", reserve="10MiB", swap="20MiB", load=(HostLoad(size="30MiB", start_s=5.0),))


def after(resident_mib: int, now_s: float = 10.0) -> HostMemory:
    host = HostMemory(HOST)
    host.settle(resident_mib * MIB, now_s, 1.0)
    return host


def test_what_nobody_takes_is_available() -> None:
    assert after(40, now_s=1.0).use.available_bytes == 60 * MIB
    assert after(40).use.available_bytes == 30 * MIB


@pytest.mark.parametrize(
    ("resident", "available", "swapped", "unmet"), [(70, 0, 0, 0), (80, 0, 10, 0), (90, 0, 20, 0), (95, 0, 20, 5)]
)
def test_what_does_not_fit_lies_in_swap_and_then_nowhere(resident, available, swapped, unmet) -> None:
    use = after(resident).use
    assert (use.available_bytes, use.swapped_bytes, use.unmet_bytes) == (available * MIB, swapped * MIB, unmet * MIB)
    assert HOST.memory + use.swapped_bytes + use.unmet_bytes == use.own_bytes + use.resident_bytes + use.available_bytes


def test_a_host_with_room_shows_no_pressure() -> None:
    view = after(40).view()
    assert (view.some.avg10, view.full.avg10, view.swap_in_bytes_per_s, view.swap_out_bytes_per_s) == (0, 0, 0, 0)
    assert (view.total_bytes, view.reserve_bytes) == (100 * MIB, 10 * MIB)


def test_what_goes_to_swap_and_is_wanted_again_is_traffic_that_somebody_waits_for() -> None:
    pressure = HostPressure().after(0, 10 * MIB, 1.0)
    assert (pressure.swap_in_bytes_per_s, pressure.swap_out_bytes_per_s) == (0, 10 * MIB)
    then = pressure.after(10 * MIB, 10 * MIB, 1.0)
    again = WANTED_AGAIN_PER_S * 10 * MIB
    assert then.swap_in_bytes_per_s == then.swap_out_bytes_per_s == again
    waited = 2 * again / 4096 * SWAP_PAGE_S
    assert then.some.total_us - pressure.some.total_us == int(waited * 1e6)
    assert then.full.total_us - pressure.full.total_us == int(waited**2 * 1e6)


def test_averages_come_near_what_lasts_and_fall_when_it_ends() -> None:
    pressure = HostPressure()
    for _ in range(200):
        pressure = pressure.after(100 * MIB, 100 * MIB, 1.0)
    waited = 100 * 2 * WANTED_AGAIN_PER_S * 100 * MIB / 4096 * SWAP_PAGE_S
    assert pressure.some.avg10 == pytest.approx(waited, rel=0.001)
    assert pressure.some.avg60 == pytest.approx(waited, rel=0.05)
    calm = pressure.after(0, 0, 10.0)
    assert calm.some.avg10 == pytest.approx(pressure.some.avg10 / 2.71828, rel=0.01)
    assert calm.some.total_us == pressure.some.total_us


def test_nobody_waits_for_more_than_all_of_the_time() -> None:
    assert HostPressure().after(0, 1 << 40, 1.0).some.total_us == 1_000_000
