"""A guest's page frames as code sees them that handles one at a time: Linux's struct page and what is done with it.

Rules of this file:

* A page is its frame number. Who holds a reference keeps the page; the last one that is put frees it.
* The page lock is taken and let go by whoever works on the page. It is checked by :class:`Lockdep`, as all locks are.
* A page goes back to the allocator as the allocator gave it: unlocked, on no list, of no mapping. Anything else is a
  bug of whoever put the last reference.
"""

from collections.abc import Callable, Generator
from enum import IntEnum
from typing import Final, Protocol

from ..errors import KernelBugError
from ..kernel import Kernel, Thread, WaitQueue, Work
from . import alloc, buddy, compact_zone, reclaim
from .lockdep import LockClass, Lockdep
from .movable import MovableOperations
from .page_flags import Migratetype, PageFlag
from .vm_events import VmEvent
from .zone import ORDERS, UNLINKED, MappingId, Zone, ZoneCount

_NOT_WHEN_FREED: Final = PageFlag.LOCKED | PageFlag.ISOLATED | PageFlag.MOVABLE | PageFlag.OFFLINE | PageFlag.LRU


class Gfp(IntEnum):
    """What an allocation asks for and may do, as far as a balloon driver says it. Several are a plain number."""

    HIGHUSER = 0
    MOVABLE = 1
    """The page can be migrated: it is taken from a pageblock of its kind."""
    NORETRY = 2
    """Fail rather than reclaim again and again, or kill."""
    NOMEMALLOC = 4
    """Never below the lowest watermark."""
    NOWARN = 8
    HIGHUSER_MOVABLE = MOVABLE


class Shrinker(Protocol):
    """Holds pages that it can do without (register_shrinker())."""

    def count(self) -> int:
        """Return how many pages it could give."""

    def scan(self, pages: int) -> Generator[WaitQueue | float, None, int]:
        """Give about so many; return how many it gave. May sleep."""


class MemMap:
    """The page array, one page at a time.

    Args:
        zone: The arrays.
        kernel: Whose threads wait for page locks.
    """

    def __init__(self, zone: Zone, kernel: Kernel) -> None:
        self.zone: Final = zone
        self.kernel: Final = kernel
        self.lockdep: Final = Lockdep(kernel)
        self.flags: Final = zone.flags.data
        self.refcount: Final = zone.refcount.data
        self.order: Final = zone.order.data
        self.mapping: Final = zone.mapping.data
        self.counts: Final = zone.counts.data
        self.events: Final = zone.events.data
        self.warnings: Final[list[str]] = []
        """What WARN() said."""
        self.failing_allocations = 0
        """How many of the next allocations fail, for tests of what happens then."""
        self.oom_notifiers: Final[list[Callable[[], Generator[WaitQueue | float, None, int]]]] = []
        """Threads to ask for pages before anything is killed; each returns how many it gave."""
        self.shrinkers: Final[list[Shrinker]] = []
        self._kswapd: Final = Work(self._run_kswapd)
        self._next: Final = zone.next.data
        self._prev: Final = zone.prev.data
        self._mappings: Final[dict[int, object]] = {}
        self._operations: Final[dict[int, MovableOperations]] = {}
        self._locked: Final[dict[int, WaitQueue]] = {}

    # Mappings.

    def register(self, mapping: object) -> int:
        """Return the number by which pages say that ``mapping`` is theirs.

        Raises:
            KernelBugError: There are too many.
        """
        for number in range(MappingId.FIRST_REGISTERED, len(self._next) - len(self.flags) - ORDERS * len(Migratetype)):
            if number not in self._mappings:
                self._mappings[number] = mapping
                if isinstance(mapping, MovableOperations):
                    self._operations[number] = mapping
                return number
        raise KernelBugError("more mappings than the model has lists for")

    def unregister(self, number: int) -> None:
        """Forget a mapping.

        Raises:
            KernelBugError: Pages are on its list still, or it is not registered. Nothing changed.
        """
        if number not in self._mappings:
            raise KernelBugError(f"mapping {number} is not registered")
        if not self.list_empty(self.mapping_list(number)):
            raise KernelBugError("a mapping is gone with pages on its list")
        del self._mappings[number]
        self._operations.pop(number, None)

    def movable_operations(self, pfn: int) -> MovableOperations | None:
        """Return the operations by which a page is moved; None where its mapping has none."""
        return self._operations.get(self.mapping[pfn])

    def page_mapping(self, pfn: int) -> object:
        """Return the mapping of a page, as it was registered; None where it has none."""
        return self._mappings.get(self.mapping[pfn])

    # References.

    def get_page(self, pfn: int) -> None:
        """Take another reference."""
        if not self.refcount[pfn]:
            raise KernelBugError(f"a reference to page {pfn}, which is free")
        self.refcount[pfn] += 1

    def get_page_unless_zero(self, pfn: int) -> bool:
        """Take a reference, unless the page is free or just being freed."""
        if not self.refcount[pfn]:
            return False
        self.refcount[pfn] += 1
        return True

    def put_page(self, pfn: int) -> None:
        """Let go of a reference; the last one frees the page.

        Raises:
            KernelBugError: There is none, or the page cannot be freed as it is.
        """
        if not self.refcount[pfn]:
            raise KernelBugError(f"page {pfn} put once too often")
        if self.refcount[pfn] == 1:
            self._check_free(pfn)
            buddy.free_pages(self.zone, pfn, self.order[pfn])
        else:
            self.refcount[pfn] -= 1

    # The page lock.

    def trylock_page(self, pfn: int) -> bool:
        """Take the page lock if nobody has it."""
        if self.flags[pfn] & PageFlag.LOCKED:
            return False
        self._lock(pfn, trylock=True)
        return True

    def lock_page(self, pfn: int) -> Thread:
        """Take the page lock, and sleep while another thread has it."""
        self.lockdep.check_order(LockClass.PAGE_LOCK)
        while self.flags[pfn] & PageFlag.LOCKED:
            yield self._locked.setdefault(pfn, WaitQueue())
        self._lock(pfn, trylock=False)

    def unlock_page(self, pfn: int) -> None:
        """Let go of the page lock.

        Raises:
            KernelBugError: It is not held.
        """
        self.lockdep.released(LockClass.PAGE_LOCK, pfn)
        self.flags[pfn] &= ~PageFlag.LOCKED
        waiting = self._locked.pop(pfn, None)
        if waiting is not None:
            self.kernel.wake(waiting)

    def _lock(self, pfn: int, *, trylock: bool) -> None:
        self.lockdep.acquired(LockClass.PAGE_LOCK, pfn, trylock=trylock)
        self.flags[pfn] |= PageFlag.LOCKED

    # Lists.

    def mapping_list(self, mapping: int) -> int:
        """Return the head of the list of a mapping's pages."""
        return len(self.flags) + ORDERS * len(Migratetype) + mapping

    def list_empty(self, head: int) -> bool:
        """Say whether nothing is on a list."""
        return bool(self._next[head] == head)

    def list_first(self, head: int) -> int:
        """Return the first page of a list that is not empty."""
        return self._next[head]

    def list_pages(self, head: int) -> "list[int]":
        """Return the pages of a list, the first one first."""
        pages, entry = [], self._next[head]
        while entry != head:
            pages.append(entry)
            entry = self._next[entry]
        return pages

    def list_next(self, pfn: int) -> int:
        """Return what follows a page on its list: a page, or the list's head."""
        return self._next[pfn]

    def list_add(self, pfn: int, head: int) -> None:
        """Put a page first on a list."""
        if self._next[pfn] != UNLINKED:
            raise KernelBugError(f"page {pfn} put on a second list")
        first = self._next[head]
        self._next[pfn], self._prev[pfn] = first, head
        self._prev[first] = self._next[head] = pfn

    def list_del(self, pfn: int) -> None:
        """Take a page off its list."""
        after, before = self._next[pfn], self._prev[pfn]
        if after == UNLINKED:
            raise KernelBugError(f"page {pfn} taken off a list that it is not on")
        self._prev[after], self._next[before] = before, after
        self._next[pfn] = self._prev[pfn] = UNLINKED

    # The allocator.

    def alloc_page(self, gfp: int) -> int | None:
        """Return a free page with one reference; None where there is none to be had the way that ``gfp`` allows."""
        return self.alloc_pages(gfp, 0)

    def alloc_pages(self, gfp: int, order: int) -> int | None:
        """Return the first page of a free block; reclaims before it fails, but neither compacts nor kills."""
        if self.failing_allocations:
            self.failing_allocations -= 1
            return None
        migratetype = int(Migratetype.MOVABLE if gfp & Gfp.MOVABLE else Migratetype.UNMOVABLE)
        take = alloc.alloc_pages_noretry if gfp & Gfp.NORETRY else alloc.alloc_pages
        pfn = take(self.zone, order, migratetype)
        self.wake_kswapd()
        return None if pfn < 0 else pfn

    def free_pages(self, pfn: int, order: int) -> None:
        """Free a block of which the caller has the only reference."""
        if self.order[pfn] != order:
            raise KernelBugError(f"a block of order {self.order[pfn]} freed as one of order {order}")
        self.put_page(pfn)

    def wake_kswapd(self) -> None:
        """Have kswapd run if an allocation found that there is need."""
        if self.counts[ZoneCount.KSWAPD_WOKEN]:
            self.kernel.queue_work(self._kswapd)

    def adjust_managed_page_count(self, pages: int) -> None:
        """Have the allocator account for more or fewer pages in all: MemTotal."""
        self.counts[ZoneCount.MANAGED] += pages

    # What it says and counts.

    def count_vm_event(self, event: VmEvent, by: int = 1) -> None:
        """Count something that /proc/vmstat shows."""
        self.events[event] += by

    def warn(self, what: str) -> None:
        """WARN(): say that something is wrong, and go on."""
        self.warnings.append(what)

    def _run_kswapd(self) -> Thread:
        reclaim.balance(self.zone)
        if self.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH]:
            compact_zone.reset_isolation_suitable(self.zone)
        missing = self.counts[ZoneCount.WMARK_HIGH] - self.counts[ZoneCount.FREE]
        for shrinker in self.shrinkers:
            if missing > 0 and shrinker.count():
                missing -= yield from shrinker.scan(missing)

    def _check_free(self, pfn: int) -> None:
        if self.flags[pfn] & _NOT_WHEN_FREED or self.mapping[pfn] != MappingId.NONE or self._next[pfn] != UNLINKED:
            raise KernelBugError(f"page {pfn} freed with flags {self.flags[pfn]:#x} and mapping {self.mapping[pfn]}")
