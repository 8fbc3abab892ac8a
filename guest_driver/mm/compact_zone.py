"""One run of compaction over the zone: both scanners, from where the last run stopped until a block is free.

Rules of this file, all of Linux 6.1's compact_zone():

* Not begun where a block of the order is free already, where too little is free to migrate to, or where a failure of
  the order is due to lack of memory rather than to fragmentation (fragmentation_index()).
* Ends when the scanners meet, when the allocation could take a block of the order at the end of a pageblock, or when no
  page is left to migrate to.
* :func:`advance` is compiled, and returns whenever a page's owner has to do something (:class:`Need`).
"""

from typing import Final

from .buddy import free_pages, has_free_block, may_claim, watermark_ok
from .chance import random_below
from .compact_control import VIA_COMPACT_MEMORY, Cc, CompactControl, CompactResult, Need
from .compiled import compiled
from .free_scanner import compaction_alloc
from .in_use import note_used
from .linked_list import free_list, list_add, list_empty, mapping_list
from .migrate_scanner import chunk_end, enter_block, put_back_lru, scan_block
from .movable import MigrateMode
from .page_flags import PageFlag
from .vm_events import VmEvent
from .zone import ORDERS, Zone, ZoneCount

_COSTLY_ORDER: Final = 3
_FRAGMENTED: Final = 500  # sysctl_extfrag_threshold: below it, a failure is put down to lack of memory
_MAX_DEFER_SHIFT: Final = 6
_MILLION: Final = 1_000_000


@compiled
def begin(zone: Zone, cc: CompactControl) -> int:
    """Place the scanners; return ``CONTINUE``, or what the run comes to without having been begun."""
    result = compaction_suitable(zone, cc.numbers[Cc.ORDER])
    if result != CompactResult.CONTINUE:
        return result
    if zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] and _restarting(zone, cc.numbers[Cc.ORDER]):
        reset_isolation_suitable(zone)
    last_block = _last_block(zone)
    if cc.numbers[Cc.WHOLE_ZONE]:
        cc.numbers[Cc.MIGRATE_PFN] = 0
        cc.numbers[Cc.FREE_PFN] = last_block
        return result
    sync = cc.numbers[Cc.MODE] != MigrateMode.ASYNC
    cached = zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC if sync else ZoneCount.COMPACT_MIGRATE_ASYNC]
    cc.numbers[Cc.MIGRATE_PFN] = cached
    cc.numbers[Cc.FREE_PFN] = zone.counts[ZoneCount.COMPACT_FREE]
    if cached == 0:
        cc.numbers[Cc.WHOLE_ZONE] = 1
    return result


@compiled
def advance(zone: Zone, cc: CompactControl) -> int:
    """Go on until an owner of pages is needed, or the run has ended with ``Cc.RESULT``; return a :class:`Need`."""
    numbers = cc.numbers
    while True:
        if numbers[Cc.AFTER_BATCH]:
            _after_batch(cc, zone)
        elif numbers[Cc.IN_BLOCK]:
            need = scan_block(zone, cc)
            if need != Need.NOTHING:
                return need
            if _batch(zone, cc):
                return Need.MIGRATE.value
            continue
        if numbers[Cc.RESULT] == 0:
            numbers[Cc.RESULT] = _finished(zone, cc)
        if numbers[Cc.RESULT] != CompactResult.CONTINUE:
            release_freepages(zone, cc)
            return Need.NOTHING.value
        numbers[Cc.RESULT] = 0
        _begin_iteration(zone, cc)
        enter_block(zone, cc)


@compiled
def compaction_suitable(zone: Zone, order: int) -> int:
    """Say whether compaction for an order makes sense: SUCCESS (not needed), SKIPPED (no use), or CONTINUE."""
    if order == VIA_COMPACT_MEMORY:
        return CompactResult.CONTINUE.value
    if watermark_ok(zone, order, zone.counts[ZoneCount.WMARK_MIN]):
        return CompactResult.SUCCESS.value
    mark = zone.counts[ZoneCount.WMARK_LOW if order > _COSTLY_ORDER else ZoneCount.WMARK_MIN]
    if not watermark_ok(zone, 0, mark + (2 << order)):
        return CompactResult.SKIPPED.value
    if order > _COSTLY_ORDER and 0 <= fragmentation_index(zone, order) <= _FRAGMENTED:
        return CompactResult.SKIPPED.value
    return CompactResult.CONTINUE.value


@compiled
def fragmentation_index(zone: Zone, order: int) -> int:
    """Say why an order cannot be had: towards 0 for lack of memory, towards 1000 for fragmentation, -1000 if it can."""
    blocks = 0
    for at in range(ORDERS):
        blocks += zone.nr_free[at]
    if has_free_block(zone, order):
        return -1000
    if not blocks:
        return 0
    return int(1000 - (1000 + zone.counts[ZoneCount.FREE] * 1000 // (1 << order)) // blocks)


@compiled
def reset_isolation_suitable(zone: Zone) -> None:
    """Forget which pageblocks are to be skipped, and begin at the ends again."""
    zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = 0
    zone.block_skip[:] = 0
    _reset_cached_positions(zone)


@compiled
def deferred(zone: Zone, order: int) -> bool:
    """Say whether compaction for an order has failed so often lately that it is not tried this time."""
    if order < zone.counts[ZoneCount.COMPACT_ORDER_FAILED]:
        return False
    limit = 1 << zone.counts[ZoneCount.COMPACT_DEFER_SHIFT]
    zone.counts[ZoneCount.COMPACT_CONSIDERED] += 1
    if zone.counts[ZoneCount.COMPACT_CONSIDERED] >= limit:
        zone.counts[ZoneCount.COMPACT_CONSIDERED] = limit
        return False
    return True


@compiled
def defer(zone: Zone, order: int) -> None:
    """Compaction for an order failed: leave twice as many attempts out from now on, 64 at most."""
    counts = zone.counts
    counts[ZoneCount.COMPACT_CONSIDERED] = 0
    counts[ZoneCount.COMPACT_DEFER_SHIFT] = min(counts[ZoneCount.COMPACT_DEFER_SHIFT] + 1, _MAX_DEFER_SHIFT)
    counts[ZoneCount.COMPACT_ORDER_FAILED] = min(counts[ZoneCount.COMPACT_ORDER_FAILED], order)


@compiled
def defer_reset(zone: Zone, order: int, allocated: bool) -> None:  # noqa: FBT001 (compiled)
    """Compaction for an order, or an allocation after it, succeeded."""
    if allocated:
        zone.counts[ZoneCount.COMPACT_CONSIDERED] = 0
        zone.counts[ZoneCount.COMPACT_DEFER_SHIFT] = 0
    if order >= zone.counts[ZoneCount.COMPACT_ORDER_FAILED]:
        zone.counts[ZoneCount.COMPACT_ORDER_FAILED] = order + 1


@compiled
def release_freepages(zone: Zone, cc: CompactControl) -> None:
    """Free what was taken to migrate to and not used; the next run begins where it lay."""
    highest = -1
    while cc.numbers[Cc.NR_FREE_PAGES]:
        cc.numbers[Cc.NR_FREE_PAGES] -= 1
        pfn = cc.free_pages[cc.numbers[Cc.NR_FREE_PAGES]]
        highest = max(highest, pfn)
        free_pages(zone, pfn, 0)
    block = highest >> zone.counts[ZoneCount.PAGEBLOCK_ORDER] << zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    if highest >= 0 and block > zone.counts[ZoneCount.COMPACT_FREE]:
        zone.counts[ZoneCount.COMPACT_FREE] = block


@compiled
def _restarting(zone: Zone, order: int) -> bool:
    if order < zone.counts[ZoneCount.COMPACT_ORDER_FAILED]:
        return False
    shift = zone.counts[ZoneCount.COMPACT_DEFER_SHIFT]
    return bool(shift == _MAX_DEFER_SHIFT and zone.counts[ZoneCount.COMPACT_CONSIDERED] >= 1 << shift)


@compiled
def _last_block(zone: Zone) -> int:
    order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    return int((len(zone.flags) - 1) >> order << order)


@compiled
def _reset_cached_positions(zone: Zone) -> None:
    zone.counts[ZoneCount.COMPACT_MIGRATE_ASYNC] = 0
    zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] = 0
    zone.counts[ZoneCount.COMPACT_FREE] = _last_block(zone)


@compiled
def _scanners_met(zone: Zone, cc: CompactControl) -> bool:
    order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    return bool(cc.numbers[Cc.FREE_PFN] >> order <= cc.numbers[Cc.MIGRATE_PFN] >> order)


@compiled
def _finished(zone: Zone, cc: CompactControl) -> int:
    """Say whether the run goes on: compact_finished()."""
    order = cc.numbers[Cc.ORDER]
    if _scanners_met(zone, cc):
        _reset_cached_positions(zone)
        if cc.numbers[Cc.DIRECT]:
            zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = 1
        return CompactResult.COMPLETE.value if cc.numbers[Cc.WHOLE_ZONE] else CompactResult.PARTIAL_SKIPPED.value
    aligned = cc.numbers[Cc.MIGRATE_PFN] & ((1 << zone.counts[ZoneCount.PAGEBLOCK_ORDER]) - 1) == 0
    if order != VIA_COMPACT_MEMORY and aligned and _block_to_take(zone, order, cc.numbers[Cc.MIGRATETYPE]):
        return CompactResult.SUCCESS.value
    return CompactResult.CONTINUE.value


@compiled
def _block_to_take(zone: Zone, order: int, migratetype: int) -> bool:
    """Say whether a block is free that the type has, or may take from another together with its pageblock."""
    for at in range(order, ORDERS):
        if not list_empty(zone, free_list(zone, at, migratetype)):
            return True
        if zone.nr_free[at] and may_claim(zone, at, migratetype):
            return True
    return False


@compiled
def _begin_iteration(zone: Zone, cc: CompactControl) -> None:
    """Have the second batch of a pageblock be all that is left of it, so that it is not scanned over and over."""
    order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    at = cc.numbers[Cc.MIGRATE_PFN]
    cc.numbers[Cc.ITERATION_START] = at
    if cc.numbers[Cc.ORDER] > 0 and cc.numbers[Cc.LAST_MIGRATED_PFN] < chunk_end(cc, at) - (1 << cc.numbers[Cc.ORDER]):
        cc.numbers[Cc.LAST_MIGRATED_PFN] = 0
    cc.numbers[Cc.RESCAN] = cc.numbers[Cc.LAST_MIGRATED_PFN] >> order == at >> order


@compiled
def _batch(zone: Zone, cc: CompactControl) -> bool:
    """Migrate what was isolated, if anything was; True if there are owned pages among it, whose owners must."""
    numbers = cc.numbers
    numbers[Cc.BATCH] = numbers[Cc.NR_LRU] + numbers[Cc.NR_OWNED]
    if numbers[Cc.BATCH]:
        numbers[Cc.AFTER_BATCH] = 1
        numbers[Cc.LAST_MIGRATED_PFN] = numbers[Cc.ITERATION_START]
        _migrate_lru(zone, cc)
    return bool(numbers[Cc.NR_OWNED])


@compiled
def _migrate_lru(zone: Zone, cc: CompactControl) -> None:
    """Migrate pages of page cache and processes, the last isolated first, as migrate_pages() finds them on its list."""
    numbers = cc.numbers
    pinned = 0
    while numbers[Cc.NR_LRU] > pinned:
        page = cc.lru_pages[numbers[Cc.NR_LRU] - 1]
        if random_below(zone, _MILLION) < zone.counts[ZoneCount.MIGRATE_FAIL_PPM]:
            cc.lru_pages[numbers[Cc.NR_LRU] - 1] = cc.lru_pages[pinned]
            cc.lru_pages[pinned] = page
            pinned += 1
            continue
        newpage = compaction_alloc(zone, cc)
        if newpage < 0:
            numbers[Cc.OUT_OF_FREE_PAGES] = 1
            break
        numbers[Cc.NR_LRU] -= 1
        _move_lru(zone, page, newpage)
    numbers[Cc.FAILED] += numbers[Cc.NR_LRU]
    zone.events[VmEvent.PGMIGRATE_FAIL] += pinned
    put_back_lru(zone, cc, 0)


@compiled
def _move_lru(zone: Zone, page: int, newpage: int) -> None:
    zone.flags[newpage] = (zone.flags[page] | PageFlag.LRU) & ~PageFlag.ISOLATED
    zone.mapping[newpage] = zone.mapping[page]
    list_add(zone, newpage, mapping_list(zone, zone.mapping[page]))
    note_used(zone, newpage, 0)
    free_pages(zone, page, 0)
    zone.events[VmEvent.PGMIGRATE_SUCCESS] += 1


@compiled
def _after_batch(cc: CompactControl, zone: Zone) -> None:
    """Draw the consequences of pages that could not be migrated."""
    numbers = cc.numbers
    numbers[Cc.AFTER_BATCH] = 0
    if not numbers[Cc.FAILED]:
        return
    numbers[Cc.FAILED] = 0
    if numbers[Cc.OUT_OF_FREE_PAGES]:
        numbers[Cc.OUT_OF_FREE_PAGES] = 0
        if not _scanners_met(zone, cc):
            numbers[Cc.RESULT] = CompactResult.CONTENDED
    elif numbers[Cc.DIRECT] and numbers[Cc.MODE] == MigrateMode.ASYNC:
        numbers[Cc.MIGRATE_PFN] = chunk_end(cc, numbers[Cc.MIGRATE_PFN] - 1)
        numbers[Cc.LAST_MIGRATED_PFN] = 0
