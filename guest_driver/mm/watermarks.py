"""How many frames the allocator keeps free: what Linux sets min_free_kbytes to where it has transparent huge pages.

Rules of this file:

* min is what migration types need so that they do not mix: a pageblock for each type twice over, and for what they fall
  back to, in each zone; but at most a twentieth of memory.
* low is a quarter above min, where kswapd is woken, and high a half, where it comes to rest.
"""

from typing import Final

from .zone import Zone, ZoneCount

_ZONES: Final = 3  # of a 64-bit guest: DMA, DMA32 and Normal, although the model has all frames in one
_MIGRATETYPES: Final = 3  # on per-CPU lists; those that another type could have mixed into are their square
_PAGEBLOCKS: Final = 2 + _MIGRATETYPES * _MIGRATETYPES
_MAX_SHARE: Final = 20  # a twentieth of memory


def set_recommended_watermarks(zone: Zone) -> None:
    """Set the watermarks of a guest that was just booted: set_recommended_min_free_kbytes()."""
    recommended = (_PAGEBLOCKS * _ZONES) << int(zone.counts[ZoneCount.PAGEBLOCK_ORDER])
    set_min_free_frames(zone, min(recommended, int(zone.counts[ZoneCount.MANAGED]) // _MAX_SHARE))


def set_min_free_frames(zone: Zone, frames: int) -> None:
    """Set the watermarks by the lowest of them, as a write to /proc/sys/vm/min_free_kbytes does."""
    zone.counts[ZoneCount.WMARK_MIN] = frames
    zone.counts[ZoneCount.WMARK_LOW] = frames + frames // 4
    zone.counts[ZoneCount.WMARK_HIGH] = frames + frames // 2
