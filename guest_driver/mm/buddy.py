"""The buddy allocator with page mobility grouping: Linux's mm/page_alloc.c, as 6.1 has it.

Rules of this file:

* A free block of an order begins at a multiple of its size, and two free buddies are one block of the next order.
* Free blocks stand on the list of an order and a migratetype; freed ones go to the list of their pageblock's type.
* Where a type has nothing free, it takes from another: the largest block there is, and the pageblock with it where that
  keeps the types apart. Movable pages that cannot have a whole pageblock take the smallest block instead.
* Per-CPU lists are left out: on this level they change nothing that a balloon or compaction can see.
"""

from typing import Final

from .compiled import compiled
from .linked_list import free_list, list_add, list_add_tail, list_del, list_empty
from .page_flags import Migratetype, PageFlag
from .zone import ORDERS, MappingId, Zone, ZoneCount

_FALLBACKS: Final = (
    (int(Migratetype.RECLAIMABLE), int(Migratetype.MOVABLE)),  # for UNMOVABLE
    (int(Migratetype.RECLAIMABLE), int(Migratetype.UNMOVABLE)),  # for MOVABLE
    (int(Migratetype.UNMOVABLE), int(Migratetype.MOVABLE)),  # for RECLAIMABLE
)

_LARGEST: Final = ORDERS - 1


@compiled
def pageblock_of(zone: Zone, pfn: int) -> int:
    """Return the index of the pageblock that a frame is in."""
    return int(pfn >> zone.counts[ZoneCount.PAGEBLOCK_ORDER])


@compiled
def free_pages(zone: Zone, pfn: int, order: int) -> None:
    """Free a block: __free_one_page(). Nothing may refer to it any more."""
    migratetype = zone.block_type[pageblock_of(zone, pfn)]
    pfn, order = _merge(zone, pfn, order)
    if _merge_likely(zone, pfn, order):
        list_add_tail(zone, pfn, free_list(zone, order, migratetype))
    else:
        list_add(zone, pfn, free_list(zone, order, migratetype))
    _mark_free(zone, pfn, order)


@compiled
def rmqueue(zone: Zone, order: int, migratetype: int) -> int:
    """Take a block off the free lists, whatever the watermarks: its first frame, or -1."""
    pfn = _rmqueue_smallest(zone, order, migratetype)
    while pfn < 0 and _steal(zone, order, migratetype):
        pfn = _rmqueue_smallest(zone, order, migratetype)
    if pfn >= 0:
        zone.counts[ZoneCount.FREE] -= 1 << order
        zone.flags[pfn] = PageFlag.HEAD if order else 0
        zone.order[pfn] = order
        zone.refcount[pfn] = 1
    return pfn


@compiled
def take_free_block(zone: Zone, pfn: int) -> None:
    """Take the free block that begins at a frame off its list: __isolate_free_page(). Its frames are the caller's.

    A pageblock of which that is half or more is one for movable pages from now on.
    """
    order = zone.order[pfn]
    _take_off(zone, pfn, order)
    zone.counts[ZoneCount.FREE] -= 1 << order
    pageblock_order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    if order >= pageblock_order - 1:
        last = pfn + (1 << order) - 1
        zone.block_type[pfn >> pageblock_order : (last >> pageblock_order) + 1] = Migratetype.MOVABLE


@compiled
def watermark_ok(zone: Zone, order: int, mark: int) -> bool:
    """Say whether taking a block of an order leaves more than ``mark`` frames free: __zone_watermark_ok()."""
    if zone.counts[ZoneCount.FREE] - ((1 << order) - 1) <= mark:
        return False
    if order == 0:
        return True
    return has_free_block(zone, order)


@compiled
def has_free_block(zone: Zone, order: int) -> bool:
    """Say whether a block of at least an order is free."""
    for at_least in range(order, ORDERS):  # noqa: SIM110 (compiled code knows no generator expressions)
        if zone.nr_free[at_least]:
            return True
    return False


@compiled
def free_boot_memory(zone: Zone, first_pfn: int, end_pfn: int) -> None:
    """Give frames to the allocator that were nobody's so far, the largest blocks there are: __free_pages_core().

    They go to the ends of their lists in ascending order, so the lowest are taken first.
    """
    zone.counts[ZoneCount.MANAGED] += end_pfn - first_pfn
    while first_pfn < end_pfn:
        order = _LARGEST
        while first_pfn & ((1 << order) - 1) or first_pfn + (1 << order) > end_pfn:
            order -= 1
        migratetype = zone.block_type[pageblock_of(zone, first_pfn)]
        pfn, merged = _merge(zone, first_pfn, order)
        list_add_tail(zone, pfn, free_list(zone, merged, migratetype))
        _mark_free(zone, pfn, merged)
        first_pfn += 1 << order


@compiled
def _merge(zone: Zone, pfn: int, order: int) -> tuple[int, int]:
    """Make frames free that are on no list yet, and one with their free buddies; return the block that results."""
    _clear_frames(zone, pfn, order)
    zone.counts[ZoneCount.FREE] += 1 << order
    while order < _LARGEST and _is_free(zone, pfn ^ (1 << order), order):
        buddy = pfn ^ (1 << order)
        _take_off(zone, buddy, order)
        pfn &= buddy
        order += 1
    return pfn, order


@compiled
def _clear_frames(zone: Zone, pfn: int, order: int) -> None:
    for frame in range(pfn, pfn + (1 << order)):
        zone.flags[frame] = 0
        zone.refcount[frame] = 0
        zone.order[frame] = 0
        zone.mapping[frame] = MappingId.NONE


@compiled
def _is_free(zone: Zone, pfn: int, order: int) -> bool:
    if pfn + (1 << order) > len(zone.flags):
        return False
    return bool(zone.flags[pfn] & PageFlag.BUDDY and zone.order[pfn] == order)


@compiled
def _mark_free(zone: Zone, pfn: int, order: int) -> None:
    zone.flags[pfn] = PageFlag.BUDDY
    zone.order[pfn] = order
    zone.nr_free[order] += 1


@compiled
def _take_off(zone: Zone, pfn: int, order: int) -> None:
    """Take a free block off its list; it is nothing then."""
    list_del(zone, pfn)
    zone.flags[pfn] = 0
    zone.order[pfn] = 0
    zone.nr_free[order] -= 1


@compiled
def _merge_likely(zone: Zone, pfn: int, order: int) -> bool:
    """Say whether a block is about to become part of one two orders larger: it then waits at the list's end."""
    if order >= _LARGEST - 1:
        return False
    above = pfn & ~(1 << order)
    return _is_free(zone, above ^ (1 << (order + 1)), order + 1)


@compiled
def _rmqueue_smallest(zone: Zone, order: int, migratetype: int) -> int:
    for current in range(order, ORDERS):
        head = free_list(zone, current, migratetype)
        if not list_empty(zone, head):
            pfn = zone.next[head]
            _take_off(zone, pfn, current)
            _expand(zone, pfn, order, current, migratetype)
            return int(pfn)
    return -1


@compiled
def _expand(zone: Zone, pfn: int, order: int, current: int, migratetype: int) -> None:
    """Give back all of a block but its first ``order``."""
    while current > order:
        current -= 1
        half = pfn + (1 << current)
        list_add(zone, half, free_list(zone, current, migratetype))
        _mark_free(zone, half, current)


@compiled
def _steal(zone: Zone, order: int, migratetype: int) -> bool:
    """Move free blocks of another type to the lists of this one: __rmqueue_fallback()."""
    for current in range(_LARGEST, order - 1, -1):
        other = _fallback(zone, current, migratetype)
        if other < 0:
            continue
        whole = may_claim(zone, current, migratetype)
        if not whole and migratetype == Migratetype.MOVABLE and current > order:
            break
        _steal_block(zone, zone.next[free_list(zone, current, other)], migratetype, whole)
        return True
    for current in range(order, ORDERS):
        other = _fallback(zone, current, migratetype)
        if other >= 0:
            whole = may_claim(zone, current, migratetype)
            _steal_block(zone, zone.next[free_list(zone, current, other)], migratetype, whole)
            return True
    return False


@compiled
def _fallback(zone: Zone, order: int, migratetype: int) -> int:
    """Return the type that has a free block of an order to give, or -1."""
    if not zone.nr_free[order]:
        return -1
    for other in _FALLBACKS[migratetype]:
        if not list_empty(zone, free_list(zone, order, other)):
            return other
    return -1


@compiled
def may_claim(zone: Zone, order: int, migratetype: int) -> bool:
    """Say whether a type may take the rest of the pageblock too: can_steal_fallback()."""
    return bool(order >= zone.counts[ZoneCount.PAGEBLOCK_ORDER] // 2 or migratetype != Migratetype.MOVABLE)


@compiled
def _steal_block(zone: Zone, pfn: int, migratetype: int, whole: bool) -> None:  # noqa: FBT001 (compiled)
    """Move a free block to a type's lists, and its pageblock where most of it will be of the type then."""
    order = zone.order[pfn]
    pageblock_order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    if order >= pageblock_order:
        for block in range(pfn >> pageblock_order, (pfn + (1 << order)) >> pageblock_order):
            zone.block_type[block] = migratetype
    elif whole and _claim_pageblock(zone, pfn >> pageblock_order, migratetype):
        return
    _move(zone, pfn, order, migratetype)


@compiled
def _claim_pageblock(zone: Zone, block: int, migratetype: int) -> bool:
    """Move all that is free in a pageblock to a type's lists: steal_suitable_fallback().

    Returns:
        False, and nothing is moved, where the zone ends in the middle of the pageblock.
    """
    pageblock_order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    pfn = block << pageblock_order
    end = pfn + (1 << pageblock_order)
    if end > len(zone.flags):
        return False
    old_type = zone.block_type[block]
    free = 0
    movable = 0
    while pfn < end:
        if zone.flags[pfn] & PageFlag.BUDDY:
            order = zone.order[pfn]
            _move(zone, pfn, order, migratetype)
            free += 1 << order
            pfn += 1 << order
            continue
        if zone.flags[pfn] & (PageFlag.LRU | PageFlag.MOVABLE):
            movable += 1
        pfn += 1
    if migratetype == Migratetype.MOVABLE:
        alike = movable
    elif old_type == Migratetype.MOVABLE:
        alike = (1 << pageblock_order) - free - movable
    else:
        alike = 0
    if free + alike >= 1 << (pageblock_order - 1):
        zone.block_type[block] = migratetype
    return True


@compiled
def _move(zone: Zone, pfn: int, order: int, migratetype: int) -> None:
    list_del(zone, pfn)
    list_add_tail(zone, pfn, free_list(zone, order, migratetype))
