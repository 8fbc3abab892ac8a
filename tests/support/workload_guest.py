"""A small guest for workloads, without a balloon, run in virtual time."""

from typing import Self

from guest_driver.guest import Guest
from guest_driver.mm.zone import ZoneCount
from guest_driver.virtual_time import run_until
from guest_driver.workload.machine import Load, Machine

FRAMES_PER_MIB = 256


class WorkloadGuest:
    """``mib`` of memory and its programs."""

    def __init__(self, mib: int = 64, seed: int = 1) -> None:
        self.guest = Guest(mib << 20, seed=seed)
        self.machine = Machine(self.guest.mm, seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.machine.stop()
        self.guest.close()

    def run(self, until_s: float, *loads: Load) -> None:
        """Start loads and run to a time."""
        for load in loads:
            self.machine.start(load)
        run_until(self.guest.kernel, until_s)

    def mib(self, what: ZoneCount) -> float:
        """How much memory is of a kind."""
        return self.guest.mm.counts[what] / FRAMES_PER_MIB

    def vmstat(self, name: str) -> int:
        return self.guest.vmstat()[name]
