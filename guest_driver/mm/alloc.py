"""Allocating with watermarks: what get_page_from_freelist() and the slow path behind it do.

Rules of this file:

* Above the low watermark a block is simply taken. Below it kswapd is woken, and the min watermark is what counts.
* Where that fails, the caller reclaims for itself (direct reclaim) and tries again; an order-0 allocation goes on for
  as long as that brings anything, unless it says __GFP_NORETRY. Compaction, which may sleep, is in ``compaction``;
  killing in ``oom``.
"""

from typing import Final

from .buddy import rmqueue, watermark_ok
from .compiled import compiled
from .reclaim import reclaim_direct
from .zone import Zone, ZoneCount

_MAX_RECLAIM_RETRIES: Final = 16


@compiled
def alloc_pages(zone: Zone, order: int, migratetype: int) -> int:
    """Return the first frame of a block; -1 where even reclaim brought none."""
    return _alloc_pages(zone, order, migratetype, 0 if order else _MAX_RECLAIM_RETRIES)


@compiled
def alloc_pages_noretry(zone: Zone, order: int, migratetype: int) -> int:
    """Return the first frame of a block; -1 where reclaiming once brought none: __GFP_NORETRY."""
    return _alloc_pages(zone, order, migratetype, 0)


@compiled
def take_above(zone: Zone, order: int, migratetype: int, mark: int) -> int:
    """Return the first frame of a block if that leaves more than ``mark`` frames free; -1 if not."""
    if not watermark_ok(zone, order, mark):
        return -1
    return rmqueue(zone, order, migratetype)


@compiled
def _alloc_pages(zone: Zone, order: int, migratetype: int, retries: int) -> int:
    pfn = take_above(zone, order, migratetype, zone.counts[ZoneCount.WMARK_LOW])
    if pfn >= 0:
        return pfn
    zone.counts[ZoneCount.KSWAPD_WOKEN] = 1
    pfn = take_above(zone, order, migratetype, zone.counts[ZoneCount.WMARK_MIN])
    while pfn < 0 and retries >= 0 and reclaim_direct(zone):
        pfn = take_above(zone, order, migratetype, zone.counts[ZoneCount.WMARK_MIN])
        retries -= 1
    return pfn
