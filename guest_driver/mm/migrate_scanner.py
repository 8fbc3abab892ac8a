"""Compaction's migrate scanner: from the bottom of the zone upwards, it isolates pages that can be moved.

Rules of this file, all of Linux 6.1's isolate_migratepages() and isolate_migratepages_block():

* Pages of the page cache and of processes are taken off their lists here. A page with an owner is left to that: the
  scanner stops with ``Need.ISOLATE``, and goes on when ``Cc.ANSWER`` says what came of it.
* Of a pageblock 32 pages are isolated before they are migrated, then all that are left.
* Direct compaction that must not wait looks at pageblocks of the wanted type only, and gives up an aligned chunk of the
  order that is wanted at the first page that cannot be moved: what was isolated of the chunk goes back.
* A pageblock that was scanned from its beginning without any success is marked to be skipped.
"""

from typing import Final

from .compact_control import COMPACT_CLUSTER_MAX, Answer, Cc, CompactControl, Need
from .compiled import compiled
from .linked_list import list_add, list_del, mapping_list
from .movable import MigrateMode
from .page_flags import PageFlag
from .vm_events import VmEvent
from .zone import MappingId, Zone, ZoneCount

_NOT_OWNED: Final = int(
    PageFlag.LRU | PageFlag.SLAB | PageFlag.RESERVED | PageFlag.BUDDY | PageFlag.HEAD | PageFlag.ISOLATED
)


@compiled
def enter_block(zone: Zone, cc: CompactControl) -> bool:
    """Find the next pageblock to scan; False if the free scanner has been there."""
    size = 1 << zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    low = cc.numbers[Cc.MIGRATE_PFN]
    end = (low | (size - 1)) + 1
    while end <= cc.numbers[Cc.FREE_PFN]:
        at_start = low & (size - 1) == 0
        if at_start and not isolation_suitable(zone, cc, low):
            pass
        elif not _suitable_source(zone, cc, low):
            _update_cached_migrate(zone, cc, end)
        else:
            _begin(cc, low, end, at_start)
            return True
        low, end = end, end + size
    cc.numbers[Cc.MIGRATE_PFN] = low
    return False


@compiled
def scan_block(zone: Zone, cc: CompactControl) -> int:
    """Isolate pages of the pageblock that was entered, up to a batch; return a :class:`Need`."""
    numbers = cc.numbers
    while numbers[Cc.LOW_PFN] < numbers[Cc.END_PFN]:
        if numbers[Cc.ANSWER] == Answer.NONE_YET:
            if _chunk_is_done(cc):
                break
            if _look_at(zone, cc):
                return Need.ISOLATE.value
            if numbers[Cc.ANSWER] == Answer.NONE_YET:
                continue
        isolated = numbers[Cc.ANSWER] == Answer.ISOLATED
        numbers[Cc.ANSWER] = Answer.NONE_YET
        numbers[Cc.LOW_PFN] += 1
        if isolated:
            numbers[Cc.BLOCK_ISOLATED] += 1
            if numbers[Cc.NR_LRU] + numbers[Cc.NR_OWNED] >= COMPACT_CLUSTER_MAX and not numbers[Cc.RESCAN]:
                break
        elif _gives_up_chunks(cc):
            _give_up_chunk(zone, cc)
            if numbers[Cc.NR_OWNED]:
                return Need.PUT_BACK.value
    _leave(zone, cc)
    return Need.NOTHING.value


@compiled
def isolation_suitable(zone: Zone, cc: CompactControl, pfn: int) -> bool:
    """Say whether a pageblock may be scanned."""
    skip = zone.block_skip[pfn >> zone.counts[ZoneCount.PAGEBLOCK_ORDER]]
    return bool(cc.numbers[Cc.IGNORE_SKIP_HINT] or not skip)


@compiled
def put_back_lru(zone: Zone, cc: CompactControl, first: int) -> None:
    """Give isolated pages of page cache and processes back, from the ``first`` of the batch on."""
    for index in range(first, cc.numbers[Cc.NR_LRU]):
        pfn = cc.lru_pages[index]
        zone.flags[pfn] = (zone.flags[pfn] | PageFlag.LRU) & ~PageFlag.ISOLATED
        zone.refcount[pfn] -= 1
        list_add(zone, pfn, mapping_list(zone, zone.mapping[pfn]))
    cc.numbers[Cc.NR_LRU] = first


@compiled
def chunk_end(cc: CompactControl, pfn: int) -> int:
    """Return the end of the aligned chunk of the wanted order that a frame is in."""
    size = 1 << cc.numbers[Cc.ORDER]
    return int((pfn | (size - 1)) + 1)


@compiled
def _suitable_source(zone: Zone, cc: CompactControl, pfn: int) -> bool:
    """Say whether a pageblock may be emptied: suitable_migration_source()."""
    pageblock_order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    if zone.flags[pfn] & PageFlag.HEAD and zone.order[pfn] >= pageblock_order:
        return False
    return not _gives_up_chunks(cc) or _of_wanted_type(zone, cc, pfn)


@compiled
def _of_wanted_type(zone: Zone, cc: CompactControl, pfn: int) -> bool:
    block = pfn >> zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    return bool(zone.block_type[block] == cc.numbers[Cc.MIGRATETYPE])


@compiled
def _gives_up_chunks(cc: CompactControl) -> bool:
    return bool(cc.numbers[Cc.DIRECT] and cc.numbers[Cc.MODE] == MigrateMode.ASYNC)


@compiled
def _begin(cc: CompactControl, low: int, end: int, at_start: bool) -> None:  # noqa: FBT001 (compiled)
    numbers = cc.numbers
    numbers[Cc.IN_BLOCK] = 1
    numbers[Cc.LOW_PFN] = low
    numbers[Cc.END_PFN] = end
    numbers[Cc.FROM_BLOCK_START] = at_start
    numbers[Cc.BLOCK_ISOLATED] = 0
    numbers[Cc.NEXT_SKIP_PFN] = chunk_end(cc, low) if _gives_up_chunks(cc) else end


@compiled
def _chunk_is_done(cc: CompactControl) -> bool:
    numbers = cc.numbers
    if not _gives_up_chunks(cc) or numbers[Cc.LOW_PFN] < numbers[Cc.NEXT_SKIP_PFN]:
        return False
    if numbers[Cc.BLOCK_ISOLATED]:
        return True
    numbers[Cc.NEXT_SKIP_PFN] = chunk_end(cc, numbers[Cc.LOW_PFN])
    return False


@compiled
def _look_at(zone: Zone, cc: CompactControl) -> bool:
    """Look at one page. True: its owner is to isolate it. Else ``ANSWER`` says what came of it, unless it was free."""
    pfn = cc.numbers[Cc.LOW_PFN]
    flags = zone.flags[pfn]
    zone.events[VmEvent.COMPACT_MIGRATE_SCANNED] += 1
    if flags & PageFlag.BUDDY:
        cc.numbers[Cc.LOW_PFN] += 1 << zone.order[pfn]
        return False
    cc.numbers[Cc.ANSWER] = Answer.REFUSED
    if flags & PageFlag.HEAD:
        cc.numbers[Cc.LOW_PFN] += (1 << zone.order[pfn]) - 1
    elif flags & PageFlag.LRU:
        _isolate_lru(zone, cc, pfn)
        cc.numbers[Cc.ANSWER] = Answer.ISOLATED
    elif _has_owner(zone, pfn):
        cc.numbers[Cc.CANDIDATE] = pfn
        return True
    return False


@compiled
def _has_owner(zone: Zone, pfn: int) -> bool:
    """Say whether a page may be one with movable operations; in the interface of 2012, only its mapping tells."""
    flags = zone.flags[pfn]
    return bool(flags & _NOT_OWNED == 0 and zone.mapping[pfn] >= MappingId.FIRST_REGISTERED and zone.refcount[pfn] > 0)


@compiled
def _isolate_lru(zone: Zone, cc: CompactControl, pfn: int) -> None:
    list_del(zone, pfn)
    zone.flags[pfn] = (zone.flags[pfn] | PageFlag.ISOLATED) & ~PageFlag.LRU
    zone.refcount[pfn] += 1
    cc.lru_pages[cc.numbers[Cc.NR_LRU]] = pfn
    cc.numbers[Cc.NR_LRU] += 1


@compiled
def _give_up_chunk(zone: Zone, cc: CompactControl) -> None:
    """No block of the order can come of this chunk: give back what was isolated, and go on behind it."""
    numbers = cc.numbers
    put_back_lru(zone, cc, 0)
    numbers[Cc.BLOCK_ISOLATED] = 0
    if numbers[Cc.LOW_PFN] <= numbers[Cc.NEXT_SKIP_PFN]:
        numbers[Cc.LOW_PFN] = numbers[Cc.NEXT_SKIP_PFN]
        numbers[Cc.NEXT_SKIP_PFN] += 1 << numbers[Cc.ORDER]


@compiled
def _leave(zone: Zone, cc: CompactControl) -> None:
    """Note where the scan of the pageblock ended, and whether it was of any use."""
    numbers = cc.numbers
    numbers[Cc.IN_BLOCK] = 0
    low = min(numbers[Cc.LOW_PFN], numbers[Cc.END_PFN])
    if low == numbers[Cc.END_PFN] and (not numbers[Cc.BLOCK_ISOLATED] or numbers[Cc.RESCAN]):
        if numbers[Cc.FROM_BLOCK_START]:
            zone.block_skip[(low - 1) >> zone.counts[ZoneCount.PAGEBLOCK_ORDER]] = 1
        _update_cached_migrate(zone, cc, low)
    zone.events[VmEvent.COMPACT_ISOLATED] += numbers[Cc.BLOCK_ISOLATED]
    numbers[Cc.MIGRATE_PFN] = low


@compiled
def _update_cached_migrate(zone: Zone, cc: CompactControl, pfn: int) -> None:
    zone.counts[ZoneCount.COMPACT_MIGRATE_ASYNC] = max(zone.counts[ZoneCount.COMPACT_MIGRATE_ASYNC], pfn)
    if cc.numbers[Cc.MODE] != MigrateMode.ASYNC:
        zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] = max(zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC], pfn)
