"""Small zones of page frames, laid out by hand or at random, and a check of all that must hold of one at any time."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import numpy as np

from guest_driver.kernel import Kernel, Thread, WaitQueue
from guest_driver.mm.buddy import free_boot_memory
from guest_driver.mm.linked_list import free_list, list_add, mapping_list
from guest_driver.mm.mem_map import Gfp, MemMap
from guest_driver.mm.movable import MIGRATEPAGE_SUCCESS
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.zone import MAX_MAPPINGS, ORDERS, UNLINKED, MappingId, Zone, ZoneCount, make_zone

UNMOVABLE, MOVABLE, RECLAIMABLE = (int(migratetype) for migratetype in Migratetype)
LARGEST = ORDERS - 1


def booted(frames: int, *, pageblock_order: int = 9, seed: int = 1) -> Zone:
    """Return a zone all of which is free."""
    zone = make_zone(frames, pageblock_order=pageblock_order, seed=seed)
    free_boot_memory(zone, 0, frames)
    return zone


def laid_out(frames: int, taken: Iterable[int], *, pageblock_order: int = 9) -> Zone:
    """Return a zone of which ``taken`` are the kernel's, immovable, and all other frames are free."""
    zone = make_zone(frames, pageblock_order=pageblock_order)
    start = 0
    for pfn in sorted(taken):
        zone.flags[pfn] = 0
        free_boot_memory(zone, start, pfn)
        start = pfn + 1
    free_boot_memory(zone, start, frames)
    return zone


def make_file_page(zone: Zone, pfn: int) -> None:
    """Make an immovable page that ``laid_out`` placed one of page cache."""
    zone.flags[pfn] = int(PageFlag.LRU)
    zone.mapping[pfn] = int(MappingId.FILE)
    list_add(zone, pfn, mapping_list(zone, int(MappingId.FILE)))
    zone.counts[ZoneCount.FILE] += 1


def memory_of(zone: Zone) -> MemMap:
    """Return a zone's page array, and the kernel whose it is."""
    return MemMap(zone, Kernel())


class Outcome:
    """What became of a thread: ``value`` when it is ``done``."""

    def __init__(self) -> None:
        self.done = False
        self.value: object = None


def start(kernel: Kernel, thread: Generator[WaitQueue | float, None, object]) -> Outcome:
    """Run a thread until it sleeps or ends."""
    outcome = Outcome()

    def noting() -> Thread:
        outcome.value = yield from thread
        outcome.done = True

    kernel.spawn(noting())
    kernel.run(kernel.now_s)
    return outcome


def run(kernel: Kernel, thread: Generator[WaitQueue | float, None, object]) -> object:
    """Run a thread that does not sleep to its end, and return what it returns."""
    outcome = start(kernel, thread)
    assert outcome.done, "the thread sleeps"
    return outcome.value


@dataclass
class Owner:
    """Owns movable pages, and does with each what it is told to; each page has one reference of the owner's."""

    mm: MemMap
    pages: set[int] = field(default_factory=set)
    isolated: set[int] = field(default_factory=set)
    refuses: bool = False
    """Whether isolation fails."""
    answers: list[int] = field(default_factory=list)
    """What the next migrations come to, the first one first; success where it says nothing."""
    slow: bool = False
    """Whether a migration waits for ``host``."""
    host: WaitQueue = field(default_factory=WaitQueue)
    migrations: list[tuple[int, int]] = field(default_factory=list)
    """The old page and the new one of each attempt."""
    put_back: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mapping = self.mm.register(self)

    def adopt(self, page: int) -> None:
        """Own a page that is the kernel's so far."""
        self.mm.mapping[page] = self.mapping
        self.mm.flags[page] |= PageFlag.MOVABLE
        self.pages.add(page)

    def allocate(self) -> bool:
        """Own one page more; False where none was to be had."""
        page = self.mm.alloc_page(Gfp.HIGHUSER_MOVABLE | Gfp.NORETRY)
        if page is not None:
            self.adopt(page)
        return page is not None

    def disown(self, page: int) -> None:
        """Say that a page is nobody's; the owner's reference stays."""
        self.pages.remove(page)
        self.mm.mapping[page] = int(MappingId.NONE)
        self.mm.flags[page] &= ~PageFlag.MOVABLE

    def free(self, page: int) -> None:
        """Have a page no more."""
        self.disown(page)
        self.mm.put_page(page)

    def movable(self, page: int) -> bool:
        return page in self.pages

    def isolate(self, page: int) -> bool:
        if self.refuses or page in self.isolated:
            return False
        self.mm.get_page(page)
        self.mm.flags[page] |= PageFlag.ISOLATED
        self.isolated.add(page)
        return True

    def putback(self, page: int) -> Thread:
        yield from self.mm.lock_page(page)
        self.put_back.append(page)
        self._no_more_isolated(page)
        self.mm.unlock_page(page)
        self.mm.put_page(page)

    def migrate(self, newpage: int, page: int, mode: int) -> Generator[WaitQueue | float, None, int]:
        del mode
        self.migrations.append((page, newpage))
        answer = self.answers.pop(0) if self.answers else MIGRATEPAGE_SUCCESS
        if self.slow:
            yield self.host
        if answer < 0:
            return answer
        if answer == MIGRATEPAGE_SUCCESS:
            self.mm.get_page(newpage)
        self.adopt(newpage)
        self._no_more_isolated(page)
        self.disown(page)
        if answer == MIGRATEPAGE_SUCCESS:
            self.mm.put_page(page)
        return answer

    def _no_more_isolated(self, page: int) -> None:
        self.isolated.remove(page)
        self.mm.flags[page] &= ~PageFlag.ISOLATED


@dataclass
class Census:
    """Whose each frame of a zone is."""

    free: dict[int, int] = field(default_factory=dict)
    """First frames of free blocks, and their orders."""
    compound: dict[int, int] = field(default_factory=dict)
    reserved: set[int] = field(default_factory=set)
    lru: set[int] = field(default_factory=set)
    slab: set[int] = field(default_factory=set)
    owned: set[int] = field(default_factory=set)
    """Of a registered mapping, and not on its list as processes' pages are."""
    plain: set[int] = field(default_factory=set)
    """The kernel's, or isolated by compaction to migrate to."""


def check_zone(zone: Zone) -> Census:
    """Demand all that must hold of a zone between any two calls; return whose its frames are."""
    census = _walk(zone)
    _check_free_lists(zone, census.free)
    _check_mapping_lists(zone, census)
    held = zone.unmovable[: zone.counts[ZoneCount.UNMOVABLE]].tolist()
    assert len(set(held)) == len(held)
    assert set(held) <= census.plain
    return census


def free_blocks(zone: Zone, order: int, migratetype: int) -> list[int]:
    """Return the free blocks of a list, the first one first."""
    return list_of(zone, int(free_list(zone, order, migratetype)))


def list_of(zone: Zone, head: int) -> list[int]:
    """Return the entries of a list, and demand that its links agree both ways."""
    entries: list[int] = []
    at = int(zone.next[head])
    while at != head:
        assert zone.prev[at] == (entries[-1] if entries else head)
        entries.append(at)
        assert len(entries) <= len(zone.flags), "a list that has no end"
        at = int(zone.next[at])
    assert zone.prev[head] == (entries[-1] if entries else head)
    return entries


def _walk(zone: Zone) -> Census:
    census, pfn = Census(), 0
    frames = list(
        zip(*(array.tolist() for array in (zone.flags, zone.refcount, zone.order, zone.mapping)), strict=True)
    )
    while pfn < len(frames):
        flags, refcount, order, mapping = frames[pfn]
        if flags & PageFlag.BUDDY:
            census.free[pfn] = order
            _check_free_block(zone, pfn)
        else:
            assert refcount > 0, f"frame {pfn} is neither free nor anybody's"
            if flags & PageFlag.HEAD:
                census.compound[pfn] = order
            else:
                assert order == 0
                _kind(census, flags, mapping).add(pfn)
        if order:
            _check_tail(zone, pfn, 1 << order)
        pfn += 1 << order
    assert pfn == len(frames)
    return census


def _kind(census: Census, flags: int, mapping: int) -> set[int]:
    if flags & PageFlag.RESERVED:
        return census.reserved
    if flags & PageFlag.LRU:
        assert mapping != MappingId.NONE
        return census.lru
    if flags & PageFlag.SLAB:
        return census.slab
    if mapping >= MappingId.FIRST_REGISTERED:
        return census.owned
    assert mapping == MappingId.NONE
    return census.plain


def _check_free_block(zone: Zone, pfn: int) -> None:
    order = int(zone.order[pfn])
    size = 1 << order
    assert pfn % size == 0, f"free block {pfn} of order {order} is not aligned"
    assert pfn + size <= len(zone.flags)
    assert zone.refcount[pfn] == zone.mapping[pfn] == 0
    assert int(zone.flags[pfn]) & ~PageFlag.REPORTED == PageFlag.BUDDY
    buddy = pfn ^ size
    if order < LARGEST and buddy + size <= len(zone.flags):
        free = int(zone.flags[buddy]) & PageFlag.BUDDY and zone.order[buddy] == order
        assert not free, f"free buddies {pfn} and {buddy} of order {order} are two"


def _check_tail(zone: Zone, pfn: int, size: int) -> None:
    tail = slice(pfn + 1, pfn + size)
    for array in (zone.flags, zone.refcount, zone.mapping, zone.order):
        assert not array[tail].any(), f"a frame within block {pfn} is something of its own"
    assert (zone.next[tail] == UNLINKED).all()
    assert (zone.prev[tail] == UNLINKED).all()


def _check_free_lists(zone: Zone, free: dict[int, int]) -> None:
    listed: dict[int, int] = {}
    for order in range(ORDERS):
        blocks = [block for migratetype in Migratetype for block in free_blocks(zone, order, int(migratetype))]
        assert zone.nr_free[order] == len(blocks)
        assert not listed.keys() & set(blocks)
        assert len(set(blocks)) == len(blocks)
        listed |= dict.fromkeys(blocks, order)
    assert listed == free
    assert zone.counts[ZoneCount.FREE] == sum(1 << order for order in free.values())


def _check_mapping_lists(zone: Zone, census: Census) -> None:
    first = int(mapping_list(zone, 0))
    heads = np.arange(first, first + MAX_MAPPINGS)
    used = ((zone.next[heads] != heads) | (zone.prev[heads] != heads)).nonzero()[0].tolist()
    lists = {mapping: list_of(zone, first + mapping) for mapping in used}
    slab = lists.pop(int(MappingId.SLAB), [])
    assert set(slab) == census.slab
    assert zone.counts[ZoneCount.SLAB] == len(slab)
    assert zone.counts[ZoneCount.FILE] == len(lists.get(int(MappingId.FILE), []))
    listed = [pfn for pages in lists.values() for pfn in pages]
    assert len(set(listed)) == len(listed)
    assert set(listed) - census.owned == census.lru
    assert all(zone.refcount[pfn] == 1 for pfn in census.lru)
    assert all((zone.mapping[pages] == mapping).all() for mapping, pages in lists.items())
    assert zone.counts[ZoneCount.ANON] == ((zone.flags[np.array(listed, dtype=int)] & int(PageFlag.ANON)) != 0).sum()
    plain = np.array(sorted(census.plain), dtype=int)
    assert (zone.next[plain] == UNLINKED).all()
    assert (zone.prev[plain] == UNLINKED).all()
