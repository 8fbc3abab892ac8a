"""Which frames came into use, for the host to learn of: it is charged for a frame when the guest touches it."""

from .compiled import compiled
from .zone import Array, Zone, ZoneCount


@compiled
def note_used(zone: Zone, pfn: int, order: int) -> None:
    """Note that a block is touched from now on."""
    if not zone.counts[ZoneCount.USED_WANTED]:
        return
    entries = zone.counts[ZoneCount.USED]
    if entries < len(zone.used):
        zone.used[entries] = ~pfn if order else pfn
        zone.counts[ZoneCount.USED] = entries + 1


def take_used(zone: Zone) -> Array:
    """Return what :func:`note_used` noted since the last call."""
    entries = int(zone.counts[ZoneCount.USED])
    zone.counts[ZoneCount.USED] = 0
    return zone.used[:entries].copy()
