"""Pressure stall information of a simulated host, as its kernel would average it.

What is derived, and from what: a host that is short swaps. Of what lies in swap, ``WANTED_AGAIN_PER_S`` is touched
again each second and must come back, which pushes as much of something else out. Each page costs ``SWAP_PAGE_S``, the
time of a fast disk; some task waits for that share of the time (``some``, at most all of it). All tasks wait at once
by chance only: ``full`` is the square of that share. Guests do not run slower for it: that is not modelled.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES

from ...policy import Pressure

WANTED_AGAIN_PER_S: Final = 0.02
SWAP_PAGE_S: Final = 100e-6

_NONE: Final = Pressure()


@dataclass(frozen=True, slots=True)
class HostPressure:
    """Averages, and what swaps, at one time."""

    some: Pressure = _NONE
    full: Pressure = _NONE
    swap_in_bytes_per_s: float = 0.0
    swap_out_bytes_per_s: float = 0.0

    def after(self, swapped_before: int, swapped_bytes: int, passed_s: float) -> "HostPressure":
        """Return the pressure after a while in which what lies in swap went from one size to another."""
        again = WANTED_AGAIN_PER_S * min(swapped_before, swapped_bytes)
        grown = (swapped_bytes - swapped_before) / passed_s
        came, went = again + max(0.0, -grown), again + max(0.0, grown)
        waited = min(1.0, (came + went) / FRAME_BYTES * SWAP_PAGE_S)
        return HostPressure(
            some=_averaged(self.some, waited, passed_s),
            full=_averaged(self.full, waited * waited, passed_s),
            swap_in_bytes_per_s=came,
            swap_out_bytes_per_s=went,
        )


def _averaged(before: Pressure, waited: float, passed_s: float) -> Pressure:
    return replace(
        before,
        avg10=_towards(before.avg10, 100 * waited, passed_s / 10),
        avg60=_towards(before.avg60, 100 * waited, passed_s / 60),
        total_us=before.total_us + int(waited * passed_s * 1e6),
    )


def _towards(average: float, percent: float, windows: float) -> float:
    kept = math.exp(-windows)
    return average * kept + percent * (1 - kept)
