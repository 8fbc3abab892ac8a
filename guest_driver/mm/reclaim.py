"""Taking memory back from page cache and reclaimable slab: Linux's mm/vmscan.c, without swap.

Rules of this file:

* Page cache goes oldest first, in batches; anonymous memory has nowhere to go, since the guest has no swap.
* Slab is scanned in proportion to page cache. A slab page whose objects are in use goes to the young end again.
* kswapd is woken below the low watermark and goes on until more than the high one is free; who allocates below the min
  watermark reclaims for itself.
"""

from typing import Final

from .buddy import free_pages, watermark_ok
from .chance import chance
from .compiled import compiled
from .linked_list import list_add, list_del, list_empty, mapping_list
from .vm_events import VmEvent
from .zone import MappingId, Zone, ZoneCount

SWAP_CLUSTER_MAX: Final = 32
"""Pages that are reclaimed at a time."""

_SLAB_IN_USE: Final = 0.5  # of scanned slab pages: an object of theirs is needed still


@compiled
def reclaim_direct(zone: Zone) -> int:
    """Reclaim a batch for an allocation; return how many pages came of it."""
    zone.events[VmEvent.ALLOCSTALL] += 1
    scanned, freed = _shrink(zone, SWAP_CLUSTER_MAX)
    zone.events[VmEvent.PGSCAN_DIRECT] += scanned
    zone.events[VmEvent.PGSTEAL_DIRECT] += freed
    return freed


@compiled
def reclaim_for_compaction(zone: Zone, order: int) -> int:
    """Reclaim until compaction for an order has room to work, or nothing comes of it (should_continue_reclaim())."""
    zone.events[VmEvent.ALLOCSTALL] += 1
    gap = 2 << order
    total = 0
    while total < gap and not watermark_ok(zone, 0, zone.counts[ZoneCount.WMARK_HIGH] + gap):
        scanned, freed = _shrink(zone, SWAP_CLUSTER_MAX)
        zone.events[VmEvent.PGSCAN_DIRECT] += scanned
        zone.events[VmEvent.PGSTEAL_DIRECT] += freed
        total += freed
        if not freed:
            break
    return total


@compiled
def balance(zone: Zone) -> int:
    """What kswapd does when it was woken: reclaim to above the high watermark. Return how many pages came of it."""
    if not zone.counts[ZoneCount.KSWAPD_WOKEN]:
        return 0
    zone.counts[ZoneCount.KSWAPD_WOKEN] = 0
    total = 0
    while zone.counts[ZoneCount.FREE] <= zone.counts[ZoneCount.WMARK_HIGH]:
        scanned, freed = _shrink(zone, SWAP_CLUSTER_MAX)
        zone.events[VmEvent.PGSCAN_KSWAPD] += scanned
        zone.events[VmEvent.PGSTEAL_KSWAPD] += freed
        total += freed
        if not freed:
            break
    return total


@compiled
def drop_caches(zone: Zone, slab: bool) -> None:  # noqa: FBT001 (compiled code knows no keyword-only parameters)
    """Free all page cache, and all slab that nobody uses: /proc/sys/vm/drop_caches."""
    _shrink_file(zone, zone.counts[ZoneCount.FILE])
    if slab:
        _shrink_slab(zone, zone.counts[ZoneCount.SLAB])


@compiled
def _shrink(zone: Zone, pages: int) -> tuple[int, int]:
    file, slab = zone.counts[ZoneCount.FILE], zone.counts[ZoneCount.SLAB]
    of_slab = pages * slab // max(1, file + slab)
    scanned = min(pages, file + slab)
    freed = _shrink_file(zone, pages - of_slab) + _shrink_slab(zone, of_slab)
    if not freed and slab:
        freed = _shrink_slab(zone, pages)
    return scanned, freed


@compiled
def _shrink_file(zone: Zone, pages: int) -> int:
    """Free the oldest pages of page cache."""
    head = mapping_list(zone, MappingId.FILE.value)
    freed = 0
    while freed < pages and not list_empty(zone, head):
        pfn = zone.prev[head]
        list_del(zone, pfn)
        free_pages(zone, pfn, 0)
        freed += 1
    zone.counts[ZoneCount.FILE] -= freed
    return freed


@compiled
def _shrink_slab(zone: Zone, pages: int) -> int:
    """Free the oldest slab pages that nobody uses, of ``pages`` that are looked at."""
    head = mapping_list(zone, MappingId.SLAB.value)
    freed = 0
    for _ in range(pages):
        if list_empty(zone, head):
            break
        zone.events[VmEvent.SLABS_SCANNED] += 1
        pfn = zone.prev[head]
        list_del(zone, pfn)
        if chance(zone, _SLAB_IN_USE):
            list_add(zone, pfn, head)
            continue
        free_pages(zone, pfn, 0)
        freed += 1
    zone.counts[ZoneCount.SLAB] -= freed
    return freed
