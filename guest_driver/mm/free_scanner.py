"""Compaction's free scanner: from the top of the zone downwards, it takes free pages to migrate to.

Rules of this file, all of Linux 6.1's isolate_freepages():

* Only movable pageblocks are filled, and none that is free as a whole: that is what compaction is to make.
* It takes as many free pages as there are to migrate, then stops where it is; never below the low end of what must stay
  free.
* Waiting for nothing, it looks at every 32nd page of a pageblock first.
"""

from .buddy import take_free_block, watermark_ok
from .compact_control import COMPACT_CLUSTER_MAX, Cc, CompactControl
from .compiled import compiled
from .migrate_scanner import isolation_suitable
from .movable import MigrateMode
from .page_flags import Migratetype, PageFlag
from .vm_events import VmEvent
from .zone import Zone, ZoneCount


@compiled
def compaction_alloc(zone: Zone, cc: CompactControl) -> int:
    """Return a page to migrate to, with one reference; -1 if the scanners have met."""
    if not cc.numbers[Cc.NR_FREE_PAGES]:
        _isolate_freepages(zone, cc)
    if not cc.numbers[Cc.NR_FREE_PAGES]:
        return -1
    cc.numbers[Cc.NR_FREE_PAGES] -= 1
    return int(cc.free_pages[cc.numbers[Cc.NR_FREE_PAGES]])


@compiled
def compaction_free(cc: CompactControl, pfn: int) -> None:
    """Take a page back that nothing was migrated to; it is the next to be handed out."""
    cc.free_pages[cc.numbers[Cc.NR_FREE_PAGES]] = pfn
    cc.numbers[Cc.NR_FREE_PAGES] += 1


@compiled
def _isolate_freepages(zone: Zone, cc: CompactControl) -> None:
    numbers = cc.numbers
    order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    size = 1 << order
    low = (numbers[Cc.MIGRATE_PFN] | (size - 1)) + 1
    stride = COMPACT_CLUSTER_MAX if numbers[Cc.MODE] == MigrateMode.ASYNC else 1
    at = numbers[Cc.FREE_PFN]
    block = at & ~(size - 1)
    while block >= low:
        end = min(block + size, len(zone.flags))
        if _suitable_target(zone, block) and isolation_suitable(zone, cc, block):
            before = numbers[Cc.NR_FREE_PAGES]
            at = _isolate_block(zone, cc, at, end, stride)
            if at == end:
                _skip(zone, block)
            if numbers[Cc.NR_FREE_PAGES] >= numbers[Cc.BATCH]:
                if at >= end:
                    at = block - size
                break
            if at < end:
                break
            stride = 1 if numbers[Cc.NR_FREE_PAGES] > before else min(COMPACT_CLUSTER_MAX, stride << 1)
        block -= size
        at = block
    numbers[Cc.FREE_PFN] = max(at, 0)


@compiled
def _suitable_target(zone: Zone, block: int) -> bool:
    order = zone.counts[ZoneCount.PAGEBLOCK_ORDER]
    if zone.flags[block] & PageFlag.BUDDY and zone.order[block] >= order:
        return False
    return bool(zone.block_type[block >> order] == Migratetype.MOVABLE)


@compiled
def _skip(zone: Zone, block: int) -> None:
    zone.block_skip[block >> zone.counts[ZoneCount.PAGEBLOCK_ORDER]] = 1
    zone.counts[ZoneCount.COMPACT_FREE] = min(zone.counts[ZoneCount.COMPACT_FREE], block)


@compiled
def _isolate_block(zone: Zone, cc: CompactControl, at: int, end: int, stride: int) -> int:
    """Take free pages between ``at`` and ``end`` until there are enough; return where that stopped."""
    taken = 0
    while at < end:
        zone.events[VmEvent.COMPACT_FREE_SCANNED] += 1
        if zone.flags[at] & PageFlag.HEAD:
            at += (1 << zone.order[at]) - 1 + stride
            continue
        if not zone.flags[at] & PageFlag.BUDDY:
            at += stride
            continue
        frames = 1 << zone.order[at]
        if not watermark_ok(zone, 0, zone.counts[ZoneCount.WMARK_MIN] + frames):
            break
        zone.events[VmEvent.COMPACT_FREE_SCANNED] += frames - 1
        _take(zone, cc, at)
        taken += frames
        if cc.numbers[Cc.NR_FREE_PAGES] >= cc.numbers[Cc.BATCH]:
            at += frames
            break
        at += frames - 1 + stride
    zone.events[VmEvent.COMPACT_ISOLATED] += taken
    return min(at, end)


@compiled
def _take(zone: Zone, cc: CompactControl, pfn: int) -> None:
    """Take a free block as so many single pages; the last of them is handed out first."""
    frames = 1 << zone.order[pfn]
    take_free_block(zone, pfn)
    for page in range(pfn, pfn + frames):
        zone.refcount[page] = 1
        compaction_free(cc, page)
