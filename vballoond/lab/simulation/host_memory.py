"""Who has the host's memory.

Rules of this file:

* What guests take is what they touched and the host did not get back, no matter what they could take.
* What does not fit lies in swap; what does not fit there either is ``unmet``: a real host would kill for it. Here
  nobody is killed, it is counted.
"""

from dataclasses import dataclass
from typing import Final

from ...policy import Host
from .host_pressure import HostPressure
from .host_scenario import SimulatedHost


@dataclass(frozen=True, slots=True)
class HostUse:
    """The host's memory at one time."""

    own_bytes: int = 0
    """What other things than guests use."""
    resident_bytes: int = 0
    """What guests take."""
    available_bytes: int = 0
    swapped_bytes: int = 0
    unmet_bytes: int = 0


class HostMemory:
    """A host in virtual time.

    Args:
        host: What it has.
    """

    def __init__(self, host: SimulatedHost) -> None:
        self._host: Final = host
        self.use = HostUse(available_bytes=host.memory)
        self.pressure = HostPressure()

    def settle(self, resident_bytes: int, now_s: float, passed_s: float) -> None:
        """Take in what guests take at ``now_s``, ``passed_s`` after the time before."""
        own = sum(load.bytes_at(now_s) for load in self._host.load)
        over = max(0, own + resident_bytes - self._host.memory)
        swapped = min(over, self._host.swap)
        self.pressure = self.pressure.after(self.use.swapped_bytes, swapped, passed_s)
        self.use = HostUse(
            own_bytes=own,
            resident_bytes=resident_bytes,
            available_bytes=max(0, self._host.memory - own - resident_bytes),
            swapped_bytes=swapped,
            unmet_bytes=over - swapped,
        )

    def view(self) -> Host:
        """Return what a policy sees of it."""
        pressure = self.pressure
        return Host(
            total_bytes=self._host.memory,
            available_bytes=self.use.available_bytes,
            reserve_bytes=self._host.reserve,
            some=pressure.some,
            full=pressure.full,
            swap_in_bytes_per_s=pressure.swap_in_bytes_per_s,
            swap_out_bytes_per_s=pressure.swap_out_bytes_per_s,
        )
