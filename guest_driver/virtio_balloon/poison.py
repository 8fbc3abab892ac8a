"""What a free page is filled with, and that the host knows it: PAGE_POISON.

Rules of this file:

* poison_val is written before DRIVER_OK (5.5.6.6.1), once, when the driver is probed. 0 stands for init_on_free, which
  goes before page poisoning; the pattern is PAGE_POISON, 0xaa in each byte.
* The kernel fills every page that it frees. Of that the model does what a device can notice: pages that come back to
  the guest are filled (5.5.6.6.1), and so are those that are reported (5.5.6.7.1).
"""

from collections.abc import Iterable
from typing import Final

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES

from .state import BalloonState

_PAGE_POISON: Final = b"\xaa"
_VALUE_BYTES: Final = 4


class Poison:
    """What the guest's free pages hold."""

    def __init__(self, vb: BalloonState) -> None:
        self._vb: Final = vb
        self._byte: Final = b"\0" if vb.options.init_on_free else _PAGE_POISON

    def announce(self) -> None:
        """Tell the device, where it wants to know."""
        if self._negotiated:
            self._vb.device.write_config(BALLOON_CONFIG.offset_of("poison_val"), self._byte * _VALUE_BYTES)

    def fill(self, first_page: int, order: int = 0) -> None:
        """Fill pages that are free from now on, where the device was told so."""
        if self._negotiated:
            self._vb.ram.write(first_page * FRAME_BYTES, self._byte * (FRAME_BYTES << order))

    def fill_each(self, pages: Iterable[int]) -> None:
        """Fill single pages that are free from now on, where the device was told so."""
        if self._negotiated:
            for page in pages:
                self.fill(page)

    @property
    def _negotiated(self) -> bool:
        return bool(self._vb.features & BalloonFeature.PAGE_POISON)
