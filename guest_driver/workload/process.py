"""A process: anonymous memory that grows by page faults and is freed at exit."""

from typing import Final

from ..kernel import Thread
from ..mm import anon
from ..mm.compaction import Allocating, alloc_high_order
from ..mm.in_use import note_used
from ..mm.mem_map import MemMap
from ..mm.oom import OomKiller
from ..mm.page_flags import Migratetype, PageFlag
from ..mm.vm_events import VmEvent
from ..mm.zone import ZoneCount


class ProcessKilledError(Exception):
    """The process asked for memory, and was killed for it, by the OOM killer or from outside."""


class Process:
    """One process of a guest.

    Args:
        mm: The guest's memory.
        oom: Finds memory when there is none.
    """

    def __init__(self, mm: MemMap, oom: OomKiller) -> None:
        self.killed = False
        self._mm: Final = mm
        self._oom: Final = oom
        self._mapping: Final = mm.register(self)
        self._small_frames = 0
        self._huge_pages: Final[list[int]] = []
        oom.victims.append(self)

    def resident_frames(self) -> int:
        """Return how many frames are its own."""
        return self._small_frames + (len(self._huge_pages) << self._huge_order)

    def fault_in(self, frames: int) -> Thread:
        """Touch ``frames`` new ones. Sleeps while memory is found for them.

        Raises:
            ProcessKilledError: It was killed meanwhile, and has no memory any more.
        """
        while frames and not self.killed:
            got = anon.fault_in(self._mm.zone, self._mapping, frames)
            self._mm.wake_kswapd()
            self._small_frames += got
            frames -= got
            if frames:
                yield from self._oom.out_of_memory()
        if self.killed:
            raise ProcessKilledError

    def fault_in_huge(self) -> Thread:
        """Touch as much as a huge page: one, if compaction finds it (thp_fault_alloc), or as many small pages.

        Raises:
            ProcessKilledError: As for :meth:`fault_in`.
        """
        head = yield from self._alloc_huge()
        if head is None:
            self._mm.count_vm_event(VmEvent.THP_FAULT_FALLBACK)
            yield from self.fault_in(1 << self._huge_order)
        elif self.killed:
            self._mm.free_pages(head, self._huge_order)
            raise ProcessKilledError
        else:
            self._mm.count_vm_event(VmEvent.THP_FAULT_ALLOC)
            self._mm.flags[head] |= PageFlag.ANON | PageFlag.MAPPED
            note_used(self._mm.zone, head, self._huge_order)
            self._huge_pages.append(head)

    def unmap(self, frames: int) -> None:
        """Free memory again, the last touched first, huge pages last."""
        self._small_frames -= anon.unmap(self._mm.zone, self._mapping, min(frames, self._small_frames))

    def kill(self) -> None:
        """Free everything and end. A process that has ended is left alone."""
        if self.killed:
            return
        self.killed = True
        self.unmap(self._small_frames)
        for head in self._huge_pages:
            self._mm.flags[head] &= ~(PageFlag.ANON | PageFlag.MAPPED)
            self._mm.free_pages(head, self._huge_order)
        self._huge_pages.clear()
        self._oom.victims.remove(self)
        self._mm.unregister(self._mapping)

    @property
    def _huge_order(self) -> int:
        return self._mm.counts[ZoneCount.PAGEBLOCK_ORDER]

    def _alloc_huge(self) -> Allocating:
        return alloc_high_order(self._mm, self._huge_order, int(Migratetype.MOVABLE), noretry=True)
