import errno

import pytest
from support.mm import MOVABLE, UNMOVABLE, Owner, check_zone, laid_out, memory_of, run, start

from guest_driver.mm.buddy import free_pages
from guest_driver.mm.compaction import alloc_high_order, compact_memory
from guest_driver.mm.page_cache import add_file_pages
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount

BLOCKS = 32
BLOCK = 512
MIDDLES = range(256, BLOCKS * BLOCK, BLOCK)


class Rig:
    """64 MiB, all free but a page in the middle of each pageblock."""

    def __init__(self, *, movable):
        self.mm = memory_of(laid_out(BLOCKS * BLOCK, MIDDLES))
        self.zone = self.mm.zone
        self.owner = Owner(self.mm)
        if movable:
            for page in MIDDLES:
                self.owner.adopt(page)

    def compact_memory(self):
        run(self.mm.kernel, compact_memory(self.mm))

    def allocate(self, order=9, **kwargs):
        return run(self.mm.kernel, alloc_high_order(self.mm, order, MOVABLE, **kwargs))

    def free_pageblocks(self):
        return sum(1 << order >> 9 for order in check_zone(self.zone).free.values())

    def stalls(self):
        events = (VmEvent.COMPACT_STALL, VmEvent.COMPACT_SUCCESS, VmEvent.COMPACT_FAIL)
        return tuple(int(self.zone.events[event]) for event in events)


@pytest.fixture
def rig():
    return Rig(movable=True)


@pytest.fixture
def immovable():
    return Rig(movable=False)


def test_movable_pages_leave_every_pageblock_but_the_one_they_are_needed_in(rig):
    assert rig.free_pageblocks() == 0
    rig.compact_memory()
    assert rig.free_pageblocks() == BLOCKS - 1
    assert len(rig.owner.pages) == BLOCKS
    assert {page // BLOCK for page in rig.owner.pages} == {BLOCKS - 1}


def test_immovable_pages_leave_none(immovable):
    before = check_zone(immovable.zone)
    immovable.compact_memory()
    assert check_zone(immovable.zone) == before


def test_compact_memory_counts_as_no_stall(rig):
    rig.compact_memory()
    assert rig.stalls() == (0, 0, 0)


def test_allocations_get_pageblock_by_pageblock_until_too_little_is_free_to_migrate_to(rig):
    blocks = []
    while (block := rig.allocate()) is not None:
        blocks.append(block)
    assert blocks == list(range(0, (BLOCKS - 2) * BLOCK, BLOCK))
    assert rig.zone.counts[ZoneCount.FREE] == 2 * BLOCK - BLOCKS
    assert check_zone(rig.zone).compound == dict.fromkeys(blocks, 9)
    assert {page // BLOCK for page in rig.owner.pages} == {BLOCKS - 2, BLOCKS - 1}


def test_an_allocation_that_compaction_helped_is_a_stall_and_a_success(rig):
    page = rig.allocate()
    assert rig.zone.refcount[page] == 1
    assert rig.stalls() == (1, 1, 0)


def test_a_block_that_is_free_needs_no_compaction():
    zone = laid_out(2 * BLOCK, [256])
    mm = memory_of(zone)
    assert run(mm.kernel, alloc_high_order(mm, 9, MOVABLE)) == BLOCK
    assert zone.events[VmEvent.COMPACT_STALL] == 0
    assert not zone.counts[ZoneCount.KSWAPD_WOKEN]


def test_an_allocation_that_fails_compacted_twice(immovable):
    assert immovable.allocate() is None
    assert immovable.stalls() == (2, 0, 2)
    assert immovable.zone.counts[ZoneCount.COMPACT_DEFER_SHIFT] == 1


def test_without_retry_compaction_never_waits_and_so_is_not_deferred(immovable):
    assert immovable.allocate(noretry=True) is None
    assert immovable.stalls() == (2, 0, 2)
    assert immovable.zone.counts[ZoneCount.COMPACT_DEFER_SHIFT] == 0


def test_a_deferred_attempt_counts_as_a_stall_and_scans_nothing(immovable):
    immovable.allocate()
    scanned = int(immovable.zone.events[VmEvent.COMPACT_MIGRATE_SCANNED])
    immovable.zone.counts[ZoneCount.COMPACT_DEFER_SHIFT] = 6
    immovable.allocate()
    assert immovable.stalls() == (4, 0, 4)
    assert immovable.zone.events[VmEvent.COMPACT_MIGRATE_SCANNED] == scanned


def test_without_retry_a_deferred_attempt_is_the_last(immovable):
    immovable.allocate()
    immovable.zone.counts[ZoneCount.COMPACT_DEFER_SHIFT] = 6
    immovable.allocate(noretry=True)
    assert immovable.stalls() == (3, 0, 3)


def test_with_too_little_free_an_attempt_is_no_stall_and_reclaim_comes_between(rig):
    zone = rig.zone
    add_file_pages(zone, 13_000)
    zone.counts[ZoneCount.WMARK_LOW] = zone.counts[ZoneCount.WMARK_HIGH] = zone.counts[ZoneCount.FREE] - 600
    assert rig.allocate(noretry=True) is None
    assert rig.stalls() == (0, 0, 0)
    assert zone.events[VmEvent.ALLOCSTALL] == 0
    assert rig.allocate() is not None
    assert zone.events[VmEvent.ALLOCSTALL] == 1
    assert rig.stalls() == (1, 1, 0)
    check_zone(zone)


def test_success_ends_deferral_and_the_wish_to_forget_what_to_skip(rig):
    counts = rig.zone.counts
    counts[ZoneCount.COMPACT_DEFER_SHIFT] = 3
    counts[ZoneCount.COMPACT_CONSIDERED] = 8
    counts[ZoneCount.COMPACT_ORDER_FAILED] = 9
    counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = 1
    with pytest.raises(StopIteration):  # run by hand, as kswapd would forget too
        next(alloc_high_order(rig.mm, 9, MOVABLE))
    assert counts[ZoneCount.COMPACT_DEFER_SHIFT] == counts[ZoneCount.COMPACT_CONSIDERED] == 0
    assert counts[ZoneCount.COMPACT_ORDER_FAILED] == 10
    assert counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] == 0


def test_an_allocation_below_the_low_watermark_wakes_kswapd(rig):
    add_file_pages(rig.zone, 640)
    rig.zone.counts[ZoneCount.WMARK_LOW] = rig.zone.counts[ZoneCount.FREE] + 100
    rig.zone.counts[ZoneCount.WMARK_HIGH] = rig.zone.counts[ZoneCount.FREE] + 200
    rig.allocate()
    rig.mm.kernel.run(0)
    assert rig.zone.counts[ZoneCount.FILE] < 640


def test_without_waiting_only_pageblocks_of_the_allocations_type_are_emptied(rig):
    rig.zone.block_type[3] = UNMOVABLE
    free_pages_of_block = check_zone(rig.zone).free
    assert 3 * BLOCK in free_pages_of_block
    page = run(rig.mm.kernel, alloc_high_order(rig.mm, 9, UNMOVABLE))
    assert page == 3 * BLOCK


def test_pages_whose_owner_refuses_for_now_fail_the_allocation_and_stay_his(rig):
    rig.owner.refuses = True
    assert rig.allocate() is None
    assert rig.owner.pages == set(MIDDLES)
    assert check_zone(rig.zone).owned == set(MIDDLES)


def test_pages_that_cannot_be_migrated_for_now_go_back(rig):
    rig.owner.answers = [-errno.EAGAIN] * 10_000
    assert rig.allocate() is None
    assert check_zone(rig.zone).owned == set(MIDDLES)
    assert not rig.owner.isolated
    rig.owner.answers = []
    rig.compact_memory()
    assert rig.free_pageblocks() == BLOCKS - 1


def test_an_allocation_sleeps_while_an_owner_does_and_free_pages_are_had_meanwhile(rig):
    rig.owner.slow = True
    outcome = start(rig.mm.kernel, alloc_high_order(rig.mm, 9, MOVABLE))
    assert not outcome.done
    other = rig.mm.alloc_pages(0, 0)
    assert other is not None
    while not outcome.done:
        rig.mm.kernel.wake(rig.owner.host)
        rig.mm.kernel.run(0)
    assert outcome.value is not None
    free_pages(rig.zone, other, 0)
    assert check_zone(rig.zone).plain == set()


def test_two_compactions_at_once_lose_nothing(rig):
    rig.owner.slow = True
    outcomes = [start(rig.mm.kernel, compact_memory(rig.mm)) for _ in range(2)]
    while not all(outcome.done for outcome in outcomes):
        check_zone(rig.zone)
        rig.mm.kernel.wake(rig.owner.host)
        rig.mm.kernel.run(0)
    assert rig.free_pageblocks() == BLOCKS - 1
    assert check_zone(rig.zone).owned == rig.owner.pages


def test_the_blocks_of_user_mode_linux_are_of_order_10():
    zone = laid_out(8 * 1024, range(512, 8 * 1024, 1024), pageblock_order=10)
    mm = memory_of(zone)
    owner = Owner(mm)
    for page in range(512, 8 * 1024, 1024):
        owner.adopt(page)
    assert [run(mm.kernel, alloc_high_order(mm, 10, MOVABLE)) for _ in range(2)] == [0, 1024]
    run(mm.kernel, compact_memory(mm))
    assert zone.nr_free[10] == 5
    check_zone(zone)
