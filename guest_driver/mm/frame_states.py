"""What each frame is, as the guest sees it: a picture for frame maps."""

import numpy as np

from protocol.balloon.frame_states import FrameState

from .compiled import compiled
from .page_flags import PageFlag
from .zone import ORDERS, UNLINKED, Array, MappingId, Zone, ZoneCount


def frame_states(zone: Zone, first: int = 0, count: int | None = None) -> Array:
    """Return a :class:`FrameState` (uint8) for each of ``count`` frames, or of all.

    Balloon pages of the interface of 2012 have no flag: they are ``UNMOVABLE`` here, and the device's frame map knows.
    """
    walked_from = first & ~((1 << (ORDERS - 1)) - 1)  # no block crosses this
    end = len(zone.flags) if count is None else min(first + count, len(zone.flags))
    states = np.empty(max(0, end - walked_from), dtype=np.uint8)
    _fill(zone, walked_from, states)
    return states[first - walked_from :]


@compiled
def _fill(zone: Zone, first: int, states: Array) -> None:
    at = 0
    while at < len(states):
        pfn = first + at
        flags = zone.flags[pfn]
        frames = 1 << zone.order[pfn] if flags & (PageFlag.BUDDY | PageFlag.HEAD) else 1
        state = _state(zone, pfn)
        for frame in range(at, min(at + frames, len(states))):
            states[frame] = state
        at += frames


@compiled
def _state(zone: Zone, pfn: int) -> int:
    flags = zone.flags[pfn]
    if flags & PageFlag.BUDDY:
        return FrameState.FREE.value
    if flags & PageFlag.ISOLATED or _owner_isolated(zone, pfn):
        return FrameState.ISOLATED.value
    if flags & PageFlag.OFFLINE:
        return FrameState.BALLOONED.value
    if flags & PageFlag.HEAD:
        whole = zone.order[pfn] >= zone.counts[ZoneCount.PAGEBLOCK_ORDER]
        return FrameState.HUGE.value if whole else FrameState.UNMOVABLE.value
    if flags & PageFlag.SLAB:
        return FrameState.RECLAIMABLE.value
    return FrameState.MOVABLE.value if flags & PageFlag.LRU else FrameState.UNMOVABLE.value


@compiled
def _owner_isolated(zone: Zone, pfn: int) -> bool:
    """Say whether a page is isolated as the interface of 2012 does it: off its list, with a second reference."""
    return bool(
        zone.mapping[pfn] >= MappingId.FIRST_REGISTERED and zone.refcount[pfn] > 1 and zone.next[pfn] == UNLINKED
    )
