"""A balloon on a small guest, whatever its generation, with a driver and a core that do as they are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EAGAIN
from typing import Any

from guest_driver.balloon_compaction import KnownBugs, make_balloon_pages
from guest_driver.kernel import Kernel, WaitQueue
from guest_driver.mm.buddy import free_boot_memory
from guest_driver.mm.mem_map import Gfp, MemMap
from guest_driver.mm.movable import MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import ZoneCount, make_zone

GENERATIONS = ("2012", "2022", "2026")
FRAMES = 256
PAGEBLOCK_ORDER = 5
KERNEL_FRAMES = 32

_OTHER_THREAD: Any = (None for _ in ())


def make_mem_map(frames: int = FRAMES) -> MemMap:
    """Return a guest's memory, all free but the kernel's frames."""
    zone = make_zone(frames, pageblock_order=PAGEBLOCK_ORDER)
    free_boot_memory(zone, KERNEL_FRAMES, frames)
    return MemMap(zone, Kernel())


def run(mm: MemMap, thread: Any) -> Any:
    """Run a thread until it ends and return its result; it may not sleep for ever."""
    results = []

    def with_result() -> Iterator[Any]:
        results.append((yield from thread))

    mm.kernel.spawn(with_result())
    mm.kernel.run(0)
    return results[0]


def finish(thread: Any) -> Any:
    """Return the result of a thread that does not sleep, run as part of the caller."""
    try:
        next(thread)
    except StopIteration as end:
        return end.value
    raise AssertionError("it sleeps")


@contextmanager
def other_thread(mm: MemMap) -> Iterator[None]:
    """Be another thread, on another processor: it holds none of the locks of the one that it interrupts."""
    before, mm.kernel.running = mm.kernel.running, _OTHER_THREAD
    try:
        yield
    finally:
        mm.kernel.running = before


class Balloon:
    """The interface with a driver and a core around it; ``outcomes`` says what the driver's callback does next."""

    def __init__(self, generation: str, *, balloon_compaction: bool = True, known_bugs: KnownBugs | None = None):
        self.generation: Any = generation
        self.mm = make_mem_map()
        self.pages: Any = make_balloon_pages(
            self.generation,
            self.mm,
            self.migratepage,
            balloon_compaction=balloon_compaction,
            known_bugs=known_bugs or KnownBugs(),
        )
        self.outcomes: list[str | int] = []
        self.host = WaitQueue()
        self.calls: list[tuple[int, int, MigrateMode]] = []

    @property
    def bdi(self) -> Any:
        return self.pages.b_dev_info if self.generation == "2012" else self.pages.vb_dev_info

    @property
    def listed(self) -> list[int]:
        """The pages on the list, by walking it."""
        return self.mm.list_pages(self.bdi.pages)

    @property
    def free(self) -> int:
        return int(self.mm.counts[ZoneCount.FREE])

    def ops(self, page: int) -> Any:
        """What compaction finds as the page's operations."""
        return self.mm.page_mapping(page)

    def inflate(self, count: int = 1) -> list[int]:
        """Put pages into the balloon as a driver of the generation does; return them as they were allocated."""
        pages = [self.pages.alloc() for _ in range(count)]
        if not self.pages.alloc_under_lock:
            for page in reversed(pages):
                self.pages.enqueue(page)
        return pages

    def isolate(self, page: int) -> bool:
        ops = self.ops(page)
        return ops is not None and ops.isolate(page)

    def migratepage(self, newpage: int, page: int, mode: MigrateMode) -> Any:
        """The driver: an outcome is a result, or "sleep" until the host answers; without one it succeeds at once."""
        self.calls.append((newpage, page, mode))
        outcome = self.outcomes.pop(0) if self.outcomes else "move"
        if isinstance(outcome, int):
            return outcome
        self.pages.migrated(newpage, page)
        if outcome == "sleep":
            yield self.host
        self.pages.finish_migration(page)
        return self.pages.migrate_success

    def migrate(self, page: int, mode: MigrateMode = MigrateMode.SYNC) -> Any:
        """Core: a thread that migrates an isolated page, cleans up, and returns (rc, newpage)."""
        mm, ops = self.mm, self.ops(page)
        newpage = mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        yield from mm.lock_page(page)
        rc = yield from ops.migrate(newpage, page, mode)
        mm.unlock_page(page)
        if rc < 0:
            mm.put_page(newpage)
            yield from ops.putback(page)
            return rc, newpage
        mm.put_page(page)
        mm.put_page(page if rc else newpage)
        return rc, newpage

    def deflate(self) -> int | None:
        page = self.pages.dequeue()
        if page is not None:
            self.pages.release(page)
        return page

    def check(self) -> None:
        """S23, S26 and what a page on the list looks like."""
        listed = self.listed
        assert len(self.pages) == len(listed)
        assert self.bdi.held == len(listed) + self.bdi.isolated_pages
        assert all(self.mm.refcount[page] == 1 for page in listed)
        marks = PageFlag.OFFLINE | PageFlag.MOVABLE | PageFlag.ISOLATED | PageFlag.LRU
        expected = 0 if self.generation == "2012" else PageFlag.OFFLINE | PageFlag.MOVABLE
        assert {self.mm.flags[page] & marks for page in listed} <= {expected}
        assert all(self.mm.page_mapping(page) is not None for page in listed)


RETRY = -EAGAIN
