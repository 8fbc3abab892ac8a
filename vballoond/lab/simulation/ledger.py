"""Where every byte of the host is, put together from what different parts say of themselves.

    total + swapped + unmet = own + guests' memory - (targets + to_go) - untouched + available

* ``targets`` is what the host wants the balloons to have, ``to_go`` what drivers still have to take (negative) or to
  give back (positive) until they have that: once all have settled, the targets alone explain it.
* ``untouched`` is what guests could use and have never asked the host for.

What balloons have is the drivers' word, what is untouched is counted in the frame maps and the accounts of touched
frames, and what is available, swapped and unmet is the host's. So the sum holds only if all of them agree.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from protocol.balloon.page_frames import FRAME_BYTES

from .host_memory import HostUse
from .page_guest import PageGuest


@dataclass(frozen=True, slots=True)
class Ledger:
    """One instant, in bytes."""

    total: int
    own: int
    guests_memory: int
    targets: int
    to_go: int
    untouched: int
    available: int
    swapped: int
    unmet: int

    @property
    def unexplained(self) -> int:
        """What the sum leaves over; 0 if every byte is explained."""
        used = self.own + self.guests_memory - (self.targets + self.to_go) - self.untouched
        return self.total + self.swapped + self.unmet - used - self.available

    def __str__(self) -> str:
        return (
            f"host {self.total} + swapped {self.swapped} + unmet {self.unmet} against own {self.own} + guests' memory "
            f"{self.guests_memory} - targets {self.targets} - to go {self.to_go} - untouched {self.untouched} + "
            f"available {self.available}"
        )


def ledger(total: int, use: HostUse, guests: Iterable[PageGuest]) -> Ledger:
    """Return the ledger of a host and its guests, none of which runs meanwhile."""
    memory = targets = held = untouched = 0
    for guest in guests:
        memory += guest.table.memory
        targets += guest.target_bytes
        held += guest.driver_bytes
        untouched += int(np.count_nonzero(~(guest.touched() | guest.held()))) * FRAME_BYTES
    return Ledger(
        total=total,
        own=use.own_bytes,
        guests_memory=memory,
        targets=targets,
        to_go=held - targets,
        untouched=untouched,
        available=use.available_bytes,
        swapped=use.swapped_bytes,
        unmet=use.unmet_bytes,
    )
