"""Telling a host which memory is free, so that it can take it: Linux's mm/page_reporting.c.

Rules of this file:

* Free blocks of at least a pageblock that were not reported yet are taken off their lists, 32 at a time, reported, and
  put back at the end of their list, marked as reported unless they have grown meanwhile. Allocating, splitting or
  merging a block clears the mark (``buddy``): what is not marked may have been written.
* It begins two seconds after the registration, and looks every two seconds for what was freed since. A report that is
  under way puts off the next look.
* Nothing is taken unless that leaves more than the low watermark; of one list at most a sixteenth at a time, and a
  batch.
* Allocation of the blocks that are being reported fails meanwhile: they are in nobody's list.
"""

from collections.abc import Callable, Generator
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from ..kernel import Thread, WaitQueue, wait_event
from .buddy import free_pages, pageblock_of, watermark_ok
from .compiled import compiled
from .linked_list import free_list, list_add_tail, list_del
from .mem_map import MemMap
from .page_flags import Migratetype, PageFlag
from .zone import ORDERS, Array, Zone, ZoneCount

CAPACITY: Final = 32
"""PAGE_REPORTING_CAPACITY: blocks of a report."""

DELAY_S: Final = 2.0
"""PAGE_REPORTING_DELAY."""

_CALLS_SHARE: Final = 16  # of a list's blocks, one look reports about a sixteenth


class Block(NamedTuple):
    """A block that is being reported."""

    page: int
    order: int


Report: TypeAlias = Callable[[list[Block]], Generator[WaitQueue | float, None, int]]
"""Tells the host of blocks and waits for its answer; returns 0 or a negative errno."""


class _Registration:
    """One device's, so that the thread of an earlier one knows that it has nothing to do any more."""

    def __init__(self, report: Report) -> None:
        self.report: Final = report
        self.working = False


class PageReporting:
    """The guest's one place to report free pages from.

    Args:
        mm: The page frames.
    """

    def __init__(self, mm: MemMap) -> None:
        self._mm: Final = mm
        self._zone: Final = mm.zone
        self._order: Final = int(mm.counts[ZoneCount.PAGEBLOCK_ORDER])
        self._batch: Final = np.zeros((CAPACITY, 2), dtype=np.int64)
        self._offset = CAPACITY
        self._idle: Final = WaitQueue()
        self._registration: _Registration | None = None

    def compile(self) -> None:
        """Compile what looking for free blocks needs, which takes a while; nothing is taken or reported."""
        watermark_ok(self._zone, 0, 0)
        _unreported(self._zone, self._order, 0)
        _gather(self._zone, self._order, 0, self._batch, 0)
        _put_back(self._zone, self._batch, CAPACITY, 0)

    def register(self, report: Report) -> bool:
        """Report free pages to ``report`` from now on; False, and nothing changed, where another is told already."""
        if self._registration is not None:
            return False
        self._registration = _Registration(report)
        self._mm.kernel.spawn(self._run(self._registration))
        return True

    def unregister(self) -> Thread:
        """Report no more, and sleep until a report that is under way was answered."""
        registration, self._registration = self._registration, None
        if registration is not None:
            yield from wait_event(self._idle, lambda: not registration.working)

    def quiesce(self) -> Thread:
        """Sleep until no report is under way."""
        registration = self._registration
        if registration is not None:
            yield from wait_event(self._idle, lambda: not registration.working)

    def _run(self, registration: _Registration) -> Thread:
        while True:
            yield DELAY_S
            if self._registration is not registration:
                return
            registration.working = True
            yield from self._process_zone(registration)
            registration.working = False
            self._mm.kernel.wake(self._idle)

    def _process_zone(self, registration: _Registration) -> Thread:
        mark = self._mm.counts[ZoneCount.WMARK_LOW] + (CAPACITY << self._order)
        if not watermark_ok(self._zone, 0, mark):
            return
        for order in range(self._order, ORDERS):
            for migratetype in range(len(Migratetype)):
                if (yield from self._cycle(registration, order, migratetype)):
                    return
        if self._offset < CAPACITY:
            yield from self._report(registration)

    def _cycle(
        self, registration: _Registration, order: int, migratetype: int
    ) -> Generator[WaitQueue | float, None, int]:
        """Report what is on a list; return 0, or the error of a report."""
        budget = -(-self._mm.zone.nr_free[order] // (CAPACITY * _CALLS_SHARE))
        while budget >= 0:
            self._offset = _gather(self._zone, order, migratetype, self._batch, self._offset)
            if not _unreported(self._zone, order, migratetype) or self._offset:
                break
            error = yield from self._report(registration)
            if error:
                return error
            budget -= 1
        return 0

    def _report(self, registration: _Registration) -> Generator[WaitQueue | float, None, int]:
        first, self._offset = self._offset, CAPACITY
        blocks = [Block(int(page), int(order)) for page, order in self._batch[first:]]
        error = yield from registration.report(blocks)
        _put_back(self._zone, self._batch, first, error)
        return error


@compiled
def _unreported(zone: Zone, order: int, migratetype: int) -> bool:
    """Say whether a list has a block that the host does not know of."""
    head = free_list(zone, order, migratetype)
    pfn = zone.next[head]
    while pfn != head:
        if not zone.flags[pfn] & PageFlag.REPORTED:
            return True
        pfn = zone.next[pfn]
    return False


@compiled
def _gather(zone: Zone, order: int, migratetype: int, batch: Array, offset: int) -> int:
    """Move unreported blocks from a list to the batch, backwards, until either is done; return where it begins."""
    head = free_list(zone, order, migratetype)
    pfn = zone.next[head]
    while pfn != head and offset:
        following = zone.next[pfn]
        if not zone.flags[pfn] & PageFlag.REPORTED:
            if not _isolate(zone, pfn, order):
                break
            offset -= 1
            batch[offset, 0] = pfn
            batch[offset, 1] = order
        pfn = following
    if pfn != head and zone.next[head] != pfn:
        # The list goes on here next time, not with all that was reported.
        list_del(zone, head)
        list_add_tail(zone, head, pfn)
    return offset


@compiled
def _isolate(zone: Zone, pfn: int, order: int) -> bool:
    """Take a free block off its list: __isolate_free_page(). False where too little would be left."""
    if not watermark_ok(zone, 0, zone.counts[ZoneCount.WMARK_MIN] + (1 << order)):
        return False
    list_del(zone, pfn)
    zone.nr_free[order] -= 1
    zone.counts[ZoneCount.FREE] -= 1 << order
    zone.flags[pfn] = PageFlag.HEAD
    zone.refcount[pfn] = 1
    if order >= zone.counts[ZoneCount.PAGEBLOCK_ORDER] - 1:
        for block in range(pageblock_of(zone, pfn), pageblock_of(zone, pfn + (1 << order) - 1) + 1):
            zone.block_type[block] = Migratetype.MOVABLE
    return True


@compiled
def _put_back(zone: Zone, batch: Array, first: int, error: int) -> None:
    """Free the blocks of the batch, at the end of their lists: page_reporting_drain()."""
    for entry in range(first, len(batch)):
        pfn, order = batch[entry, 0], batch[entry, 1]
        free_pages(zone, pfn, order)
        merged = order
        while not zone.flags[pfn] & PageFlag.BUDDY:
            merged += 1
            pfn &= ~((1 << merged) - 1)
        list_del(zone, pfn)
        list_add_tail(zone, pfn, free_list(zone, zone.order[pfn], zone.block_type[pageblock_of(zone, pfn)]))
        if not error and zone.order[pfn] == order:
            zone.flags[pfn] |= PageFlag.REPORTED
