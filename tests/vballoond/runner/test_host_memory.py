import pytest

from vballoond.policy.view import Pressure
from vballoond.runner.host_memory import HostMemory, HostTexts, read_proc

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    4000000 kB\n"
PRESSURE = "some avg10=1.50 avg60=2.25 avg300=0.10 total=12345\nfull avg10=0.50 avg60=0.25 avg300=0.00 total=678\n"


def texts(meminfo: str = MEMINFO, pressure: str = "", *, swap_in: int = 0, swap_out: int = 0) -> HostTexts:
    return HostTexts(meminfo, pressure, f"nr_free_pages 5\npswpin {swap_in}\npswpout {swap_out}\n")


def test_total_available_and_pressure_are_read() -> None:
    host = HostMemory(None).host(texts(pressure=PRESSURE), 0, keep=True)
    assert (host.total_bytes, host.available_bytes) == (16_000_000 << 10, 4_000_000 << 10)
    assert host.some == Pressure(avg10=1.5, avg60=2.25, total_us=12345)
    assert host.full == Pressure(avg10=0.5, avg60=0.25, total_us=678)


def test_a_twentieth_is_reserved_unless_more_or_less_is_configured() -> None:
    assert HostMemory(None).host(texts(), 0, keep=True).reserve_bytes == (16_000_000 << 10) // 20
    assert HostMemory(7).host(texts(), 0, keep=True).reserve_bytes == 7


def test_swap_rates_are_between_readings_that_are_kept() -> None:
    memory = HostMemory(None)
    assert memory.host(texts(swap_in=100), 10, keep=True).swap_in_bytes_per_s == 0
    looked = memory.host(texts(swap_in=110, swap_out=5), 15, keep=False)
    assert (looked.swap_in_bytes_per_s, looked.swap_out_bytes_per_s) == (2 * 4096, 4096)
    assert memory.host(texts(swap_in=130), 20, keep=True).swap_in_bytes_per_s == 3 * 4096
    assert memory.host(texts(swap_in=130), 20, keep=True).swap_in_bytes_per_s == 0


@pytest.mark.parametrize("files", [HostTexts(""), HostTexts("nonsense", "some x", "pswpin -1")])
def test_what_the_kernel_does_not_say_is_nothing(files: HostTexts) -> None:
    host = HostMemory(None).host(files, 0, keep=True)
    assert (host.total_bytes, host.available_bytes, host.some) == (0, 0, Pressure())


def test_a_kernel_without_memavailable_has_what_is_free() -> None:
    host = HostMemory(None).host(HostTexts("MemTotal: 10 kB\nMemFree: 3 kB\n"), 0, keep=True)
    assert host.available_bytes == 3 << 10


def test_this_host_can_be_read() -> None:
    assert HostMemory(None).host(read_proc(), 0, keep=True).total_bytes > 0
