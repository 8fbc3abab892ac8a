"""The device of a simulated guest, which keeps account of the frames that the host has to have for it.

Rules of this file:

* No memory of this machine is used for the guest's: which frames the host has is an array. So hosts can be simulated
  that are larger than this one.
* A frame is the host's burden from when the guest touches it until the device gives it back; what the guest frees
  stays, as on any host. What came into use is noted before something is given back, so both are in their order.
* Of what is touched and freed again within one look, only so much is noted as the guest has room for (``mm/in_use``).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from guest_driver.guest import Guest
from guest_driver.mm.in_use import take_used
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import ZoneCount

from ...balloon.effects import Effect, ReleaseFrames
from ...balloon.facts import StatisticsDue
from ...memory.frames import FrameRange
from ..direct_device import DirectDevice

Frames = npt.NDArray[np.bool_]


class TouchedDevice(DirectDevice):
    """A balloon device that answers at once, and the guest's frames as the host sees them.

    Args:
        guest: Booted, without a driver.
        features: What the device offers.
    """

    def __init__(self, guest: Guest, features: int) -> None:
        self._zone: Final = guest.zone
        self._all: Final = FrameRange(0, guest.total_frames)
        self._huge_frames: Final = 1 << int(guest.zone.counts[ZoneCount.PAGEBLOCK_ORDER])
        self._touched: Final[Frames] = (guest.zone.flags & PageFlag.RESERVED) != 0
        guest.zone.counts[ZoneCount.USED_WANTED] = 1
        super().__init__(guest, features)

    def ask_statistics(self) -> None:
        """Return the driver's statistics buffer, so that it comes back with newer ones."""
        self._feed(StatisticsDue())

    def touched(self) -> Frames:
        """Return which frames the host has to have for the guest now."""
        self._note_used()
        return self._touched

    def held(self) -> Frames:
        """Return which frames the balloon holds, by the device's map."""
        return np.frombuffer(self.device.frame_map.picture(self._all), dtype=np.bool_)

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, ReleaseFrames):
            self._note_used()
            for released in effect.ranges:
                self._touched[released.first : released.end] = False
        super()._carry_out(effect)

    def _note_used(self) -> None:
        if not self._zone.counts[ZoneCount.USED]:
            return
        used = take_used(self._zone)
        self._touched[used[used >= 0]] = True
        for head in (~used[used < 0]).tolist():
            self._touched[head : head + self._huge_frames] = True
