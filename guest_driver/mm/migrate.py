"""Migrating pages that have an owner: Linux's mm/migrate.c, for the pages that come through movable operations.

Rules of this file:

* Up to ten passes over a batch: a page that answers -EAGAIN is tried again, and from the fourth pass on its lock is
  waited for, unless the caller must not wait, or allocates: it might have the lock itself (PF_MEMALLOC). What is left
  over goes back to its owner.
* Where no page is left to migrate to, the rest of the batch goes back untried.
* The owner's callback may sleep, on the host for instance, with the old page locked all the while.
* A page that nobody but the caller refers to any more was freed by its owner in the meantime: there is nothing to move.
"""

import errno
from collections.abc import Generator
from typing import Final

from ..errors import KernelBugError
from ..kernel import Thread, WaitQueue
from .compact_control import Cc, CompactControl
from .free_scanner import compaction_alloc, compaction_free
from .mem_map import MemMap
from .movable import (
    MIGRATEPAGE_BALLOON_SUCCESS,
    MIGRATEPAGE_SUCCESS,
    MigrateMode,
    MigrateResult,
)
from .page_flags import PageFlag
from .vm_events import VmEvent

_PASSES: Final = 10
_PATIENT_PASSES: Final = 3


def isolate(mm: MemMap, page: int) -> bool:
    """Have a page's owner isolate it; False where it is not movable, or not now."""
    operations = mm.movable_operations(page)
    return operations is not None and operations.movable(page) and operations.isolate(page)


def put_back_owned(mm: MemMap, cc: CompactControl) -> Thread:
    """Give all owned pages of the batch back, the last isolated first."""
    while cc.numbers[Cc.NR_OWNED]:
        cc.numbers[Cc.NR_OWNED] -= 1
        yield from _put_back(mm, int(cc.owned_pages[cc.numbers[Cc.NR_OWNED]]))


def migrate_owned(mm: MemMap, cc: CompactControl) -> Thread:
    """Migrate all owned pages of the batch, the last isolated first; what cannot be goes back to its owner."""
    pages = [int(page) for page in cc.owned_pages[: cc.numbers[Cc.NR_OWNED]]][::-1]
    failed: list[int] = []
    for number in range(_PASSES):
        pages, untried = yield from _pass(mm, cc, pages, failed, force=number >= _PATIENT_PASSES)
        if not pages or cc.numbers[Cc.OUT_OF_FREE_PAGES]:
            break
    mm.count_vm_event(VmEvent.PGMIGRATE_FAIL, len(pages) + len(failed))
    cc.numbers[Cc.FAILED] += len(pages) + len(failed)
    for page in pages + failed + untried:
        yield from _put_back(mm, page)
    cc.numbers[Cc.NR_OWNED] = 0


def _pass(
    mm: MemMap, cc: CompactControl, pages: list[int], failed: list[int], *, force: bool
) -> Generator[WaitQueue | float, None, tuple[list[int], list[int]]]:
    """Try each page once; return those to be tried again, and those that no page was left for."""
    again: list[int] = []
    for tried, page in enumerate(pages):
        rc = yield from _unmap_and_move(mm, cc, page, force=force)
        if rc == -errno.EAGAIN:
            again.append(page)
        elif rc < 0:
            failed.append(page)
        if rc == -errno.ENOMEM:
            cc.numbers[Cc.OUT_OF_FREE_PAGES] = 1
            return again, pages[tried + 1 :]
    return again, []


def _put_back(mm: MemMap, page: int) -> Thread:
    operations = mm.movable_operations(page)
    if operations is not None:
        yield from operations.putback(page)
    else:
        mm.flags[page] &= ~PageFlag.ISOLATED
        mm.put_page(page)


def _unmap_and_move(mm: MemMap, cc: CompactControl, page: int, *, force: bool) -> MigrateResult:
    """Migrate one page; return 0 or a negative errno. On failure the page is isolated still."""
    if mm.refcount[page] == 1:
        mm.flags[page] &= ~PageFlag.ISOLATED
        mm.put_page(page)
        mm.count_vm_event(VmEvent.PGMIGRATE_SUCCESS)
        return MIGRATEPAGE_SUCCESS
    newpage = compaction_alloc(mm.zone, cc)
    if newpage < 0:
        return -errno.ENOMEM
    mode = MigrateMode(int(cc.numbers[Cc.MODE]))
    may_wait = force and mode is not MigrateMode.ASYNC and not cc.numbers[Cc.DIRECT]
    rc = yield from _move(mm, newpage, page, mode, may_wait=may_wait)
    if rc < 0:
        compaction_free(cc, newpage)
        return rc
    _drop_references(mm, newpage, page, rc)
    mm.count_vm_event(VmEvent.PGMIGRATE_SUCCESS)
    return MIGRATEPAGE_SUCCESS


def _move(
    mm: MemMap, newpage: int, page: int, mode: MigrateMode, *, may_wait: bool
) -> Generator[WaitQueue | float, None, int]:
    if not mm.trylock_page(page):
        if not may_wait:
            return -errno.EAGAIN
        yield from mm.lock_page(page)
    operations = mm.movable_operations(page)
    rc = (yield from operations.migrate(newpage, page, mode)) if operations is not None else -errno.EAGAIN
    mm.unlock_page(page)
    return rc


def _drop_references(mm: MemMap, newpage: int, page: int, rc: int) -> None:
    """Let go of what the migration held, so that the old page is free: see :class:`MovableOperations`."""
    mm.put_page(page)
    if rc == MIGRATEPAGE_BALLOON_SUCCESS:
        mm.put_page(page)
    else:
        mm.put_page(newpage)
    if mm.refcount[page]:
        raise KernelBugError(f"page {page} was migrated, and somebody refers to it still")
