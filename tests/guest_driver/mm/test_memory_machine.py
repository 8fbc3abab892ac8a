"""Everything that a guest does with its memory, in any order, with compaction asleep in the middle: nothing is lost."""

import errno

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.mm import MOVABLE, UNMOVABLE, Owner, booted, check_zone, list_of, memory_of, start
from support.properties import examples

from guest_driver.mm.anon import fault_in, unmap
from guest_driver.mm.compaction import alloc_high_order, compact_memory
from guest_driver.mm.linked_list import mapping_list
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.page_cache import add_file_pages, add_kernel_pages, add_slab_pages, free_kernel_pages
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.reclaim import drop_caches, reclaim_direct
from guest_driver.mm.zone import ZoneCount

pages = st.integers(1, 600)
ANSWERS = [0, 0, 0, 1, -errno.EAGAIN, -errno.EBUSY, -errno.ENOMEM]


class Memory(RuleBasedStateMachine):
    """A guest of a few thousand frames, with one process and one owner of movable pages."""

    @initialize(
        frames=st.integers(3000, 4096), pageblock_order=st.sampled_from([9, 10]), fail_ppm=st.sampled_from([0, 100_000])
    )
    def boot(self, frames, pageblock_order, fail_ppm):
        self.frames = frames
        self.zone = booted(frames, pageblock_order=pageblock_order)
        for mark, level in ((ZoneCount.WMARK_MIN, 50), (ZoneCount.WMARK_LOW, 100), (ZoneCount.WMARK_HIGH, 150)):
            self.zone.counts[mark] = level
        self.zone.counts[ZoneCount.MIGRATE_FAIL_PPM] = fail_ppm
        self.mm = memory_of(self.zone)
        self.owner = Owner(self.mm)
        self.process = self.mm.register("a process")
        self.blocks = {}
        self.asleep = []
        self.inflate(2000)
        self.deflate(20)

    @rule(order=st.integers(0, 10), gfp=st.sampled_from([Gfp.HIGHUSER, Gfp.MOVABLE, Gfp.MOVABLE | Gfp.NORETRY]))
    def allocate(self, order, gfp):
        block = self.mm.alloc_pages(gfp, order)
        if block is not None:
            self.blocks[block] = order

    @precondition(lambda self: self.blocks)
    @rule(which=st.integers(0, 1000))
    def free(self, which):
        block = sorted(self.blocks)[which % len(self.blocks)]
        self.mm.free_pages(block, self.blocks.pop(block))

    @rule(number=pages, fill=st.sampled_from([add_file_pages, add_slab_pages, add_kernel_pages, free_kernel_pages]))
    def guest_at_work(self, number, fill):
        assert fill(self.zone, number) <= number
        self.mm.wake_kswapd()

    @rule(number=pages, touch=st.sampled_from([fault_in, fault_in, unmap]))
    def process_at_work(self, number, touch):
        before = int(self.zone.counts[ZoneCount.ANON])
        done = touch(self.zone, self.process, number)
        assert self.zone.counts[ZoneCount.ANON] - before == (done if touch is fault_in else -done)

    @rule(number=st.integers(1, 2000))
    def inflate(self, number):
        for _ in range(number):
            if not self.owner.allocate():
                break

    @rule(keeping=st.integers(2, 100))
    def deflate(self, keeping):
        """Free all pages but every so manieth: what stays lies scattered."""
        for number, page in enumerate(sorted(self.owner.pages - self.owner.isolated)):
            if number % keeping and not self.mm.flags[page] & PageFlag.LOCKED:
                self.owner.free(page)

    @rule(refuses=st.booleans(), slow=st.booleans(), answers=st.lists(st.sampled_from(ANSWERS), max_size=40))
    def change_mind(self, refuses, slow, answers):
        self.owner.refuses, self.owner.slow, self.owner.answers = refuses, slow, answers

    @rule(slab=st.booleans())
    def drop_caches(self, slab):
        drop_caches(self.zone, slab)

    @rule()
    def reclaim(self):
        reclaim_direct(self.zone)

    @precondition(lambda self: len(self.asleep) < 3)
    @rule(
        order=st.sampled_from([2, 4, 9, 10]), migratetype=st.sampled_from([MOVABLE, UNMOVABLE]), noretry=st.booleans()
    )
    def allocate_and_compact(self, order, migratetype, noretry):
        thread = alloc_high_order(self.mm, order, migratetype, noretry=noretry)
        self.asleep.append((order, start(self.mm.kernel, thread)))
        self._reap()

    @precondition(lambda self: len(self.asleep) < 3)
    @rule()
    def compact_memory(self):
        self.asleep.append((None, start(self.mm.kernel, compact_memory(self.mm))))
        self._reap()

    @rule()
    def kswapd(self):
        self.mm.wake_kswapd()
        self.mm.kernel.run(0)

    @rule(times=st.integers(1, 50))
    def host_answers(self, times):
        for _ in range(times):
            self.mm.kernel.wake(self.owner.host)
            self.mm.kernel.run(0)
        self._reap()

    def _reap(self):
        for order, outcome in self.asleep:
            if outcome.done and outcome.value is not None and order is not None:
                self.blocks[outcome.value] = order
        self.asleep = [entry for entry in self.asleep if not entry[1].done]

    @invariant()
    def every_frame_is_somebodys(self):
        census = check_zone(self.zone)
        assert census.owned == self.owner.pages
        assert all(self.zone.refcount[page] == 1 + (page in self.owner.isolated) for page in self._still())
        loose = census.plain - set(self.zone.unmovable[: self.zone.counts[ZoneCount.UNMOVABLE]].tolist())
        had = {block: order for block, order in self.blocks.items() if order == 0}
        assert loose >= had.keys() if self.asleep else loose == had.keys()
        assert census.compound == {block: order for block, order in self.blocks.items() if order}
        process = list_of(self.zone, int(mapping_list(self.zone, self.process)))
        assert len(process) == self.zone.counts[ZoneCount.ANON]

    def _still(self):
        """Return the owner's pages that no thread is just working on."""
        return [page for page in self.owner.pages if not self.mm.flags[page] & PageFlag.LOCKED]

    def teardown(self):
        if not hasattr(self, "mm"):
            return
        self.owner.slow = False
        while self.asleep:
            self.host_answers(1)
        self.every_frame_is_somebodys()
        assert not self.owner.isolated
        for block, order in self.blocks.items():
            self.mm.free_pages(block, order)
        for page in list(self.owner.pages):
            self.owner.free(page)
        unmap(self.zone, self.process, self.frames)
        free_kernel_pages(self.zone, self.frames)
        while self.zone.counts[ZoneCount.FILE] + self.zone.counts[ZoneCount.SLAB]:
            drop_caches(self.zone, True)
        assert check_zone(self.zone).free == check_zone(booted(self.frames)).free
        assert not self.mm.warnings


TestMemory = Memory.TestCase
TestMemory.settings = settings(examples(30), stateful_step_count=30)
