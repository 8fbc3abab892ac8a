"""Compaction as the rest of the kernel asks for it: Linux's mm/compaction.c from the outside.

Rules of this file:

* ``compact_stall`` counts attempts of an allocation that were begun or deferred, ``compact_success`` and
  ``compact_fail`` what the allocation made of them. ``compact_memory`` counts as none of the three.
* Direct compaction that failed with the scanners met is deferred: the next attempts are left out, twice as many each
  time.
* A run sleeps only where an owner of pages does.
"""

from collections.abc import Generator
from typing import Final

from ..kernel import Thread, WaitQueue
from . import compact_zone
from .alloc import take_above
from .compact_control import (
    VIA_COMPACT_MEMORY,
    Answer,
    Cc,
    CompactControl,
    CompactResult,
    Need,
    make_control,
)
from .mem_map import MemMap
from .migrate import isolate, migrate_owned, put_back_owned
from .movable import MigrateMode
from .reclaim import reclaim_for_compaction
from .vm_events import VmEvent
from .zone import ZoneCount

Compacting = Generator[WaitQueue | float, None, CompactResult]
Allocating = Generator[WaitQueue | float, None, int | None]

_NO_USE: Final = (CompactResult.SKIPPED, CompactResult.DEFERRED)


def compact_memory(mm: MemMap) -> Thread:
    """Compact the whole zone, waiting for what must be waited for: a write to /proc/sys/vm/compact_memory."""
    cc = make_control(VIA_COMPACT_MEMORY, MigrateMode.SYNC, direct=False, whole_zone=True, ignore_skip_hint=True)
    yield from run(mm, cc)


def run(mm: MemMap, cc: CompactControl) -> Compacting:
    """Do one run of compaction; return how it ended."""
    result = CompactResult(compact_zone.begin(mm.zone, cc))
    if result is not CompactResult.CONTINUE:
        return result
    while True:
        match compact_zone.advance(mm.zone, cc):
            case Need.ISOLATE:
                _ask_owner(mm, cc)
            case Need.PUT_BACK:
                yield from put_back_owned(mm, cc)
            case Need.MIGRATE:
                yield from migrate_owned(mm, cc)
            case _:
                return CompactResult(int(cc.numbers[Cc.RESULT]))


def alloc_high_order(mm: MemMap, order: int, migratetype: int, *, noretry: bool = False) -> Allocating:
    """Allocate a block as __alloc_pages_slowpath() does for a costly order: compact, reclaim, compact and wait.

    Returns:
        Its first frame, with one reference; None where that was of no avail.
    """
    pfn = take_above(mm.zone, order, migratetype, mm.counts[ZoneCount.WMARK_LOW])
    if pfn < 0:
        mm.counts[ZoneCount.KSWAPD_WOKEN] = 1
        mm.wake_kswapd()
        pfn = take_above(mm.zone, order, migratetype, mm.counts[ZoneCount.WMARK_MIN])
    if pfn < 0:
        result, pfn = yield from _direct_compact(mm, order, migratetype, MigrateMode.ASYNC)
        if pfn < 0 and not (noretry and result in _NO_USE):
            pfn = yield from _reclaim_and_compact(mm, order, migratetype, noretry=noretry)
    return None if pfn < 0 else pfn


def _reclaim_and_compact(
    mm: MemMap, order: int, migratetype: int, *, noretry: bool
) -> Generator[WaitQueue | float, None, int]:
    if compact_zone.compaction_suitable(mm.zone, order) != CompactResult.SUCCESS:
        reclaim_for_compaction(mm.zone, order)
    pfn = take_above(mm.zone, order, migratetype, mm.counts[ZoneCount.WMARK_MIN])
    if pfn < 0:
        mode = MigrateMode.ASYNC if noretry else MigrateMode.SYNC_LIGHT
        _, pfn = yield from _direct_compact(mm, order, migratetype, mode)
    return pfn


def _direct_compact(
    mm: MemMap, order: int, migratetype: int, mode: MigrateMode
) -> Generator[WaitQueue | float, None, tuple[CompactResult, int]]:
    """Compact for an allocation, and try it: __alloc_pages_direct_compact()."""
    result = yield from _try_to_compact(mm, order, migratetype, mode)
    if result is CompactResult.SKIPPED:
        return result, -1
    mm.count_vm_event(VmEvent.COMPACT_STALL)
    pfn = take_above(mm.zone, order, migratetype, mm.counts[ZoneCount.WMARK_MIN])
    if pfn < 0:
        mm.count_vm_event(VmEvent.COMPACT_FAIL)
    else:
        mm.count_vm_event(VmEvent.COMPACT_SUCCESS)
        mm.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = 0
        compact_zone.defer_reset(mm.zone, order, True)
    return result, pfn


def _try_to_compact(mm: MemMap, order: int, migratetype: int, mode: MigrateMode) -> Compacting:
    if compact_zone.deferred(mm.zone, order):
        return CompactResult.DEFERRED
    cc = make_control(order, mode, direct=True, whole_zone=False, ignore_skip_hint=False, migratetype=migratetype)
    result = yield from run(mm, cc)
    if result is CompactResult.SUCCESS:
        compact_zone.defer_reset(mm.zone, order, False)
    elif mode is not MigrateMode.ASYNC and result in {CompactResult.COMPLETE, CompactResult.PARTIAL_SKIPPED}:
        compact_zone.defer(mm.zone, order)
    return result


def _ask_owner(mm: MemMap, cc: CompactControl) -> None:
    numbers = cc.numbers
    page = int(numbers[Cc.CANDIDATE])
    if not isolate(mm, page):
        numbers[Cc.ANSWER] = Answer.REFUSED
        return
    numbers[Cc.ANSWER] = Answer.ISOLATED
    cc.owned_pages[numbers[Cc.NR_OWNED]] = page
    numbers[Cc.NR_OWNED] += 1
