"""Which frames came into use, for the host to learn of: it is charged for a frame when the guest touches it.

There is room for so many of them between two looks; beyond that a frame is marked, and the marks are searched for.
"""

import numpy as np

from .compiled import compiled
from .page_flags import PageFlag
from .zone import Array, Zone, ZoneCount


@compiled
def note_used(zone: Zone, pfn: int, order: int) -> None:
    """Note that a block is touched from now on. A larger block than a single frame is one pageblock."""
    if not zone.counts[ZoneCount.USED_WANTED]:
        return
    entries = zone.counts[ZoneCount.USED]
    zone.counts[ZoneCount.USED] = entries + 1
    if entries < len(zone.used):
        zone.used[entries] = ~pfn if order else pfn
    else:
        zone.flags[pfn] |= PageFlag.UNTOLD


def take_used(zone: Zone) -> Array:
    """Return what :func:`note_used` noted since the last call: frames, and ``~frame`` for a whole pageblock."""
    entries = int(zone.counts[ZoneCount.USED])
    zone.counts[ZoneCount.USED] = 0
    noted = zone.used[:entries].copy()
    return noted if entries <= len(zone.used) else np.concatenate((noted, _take_marked(zone)))


def _take_marked(zone: Zone) -> Array:
    marked = np.flatnonzero(zone.flags & PageFlag.UNTOLD).astype(np.int32)
    zone.flags[marked] &= ~np.uint16(PageFlag.UNTOLD)
    return np.where(zone.flags[marked] & PageFlag.HEAD, ~marked, marked)
