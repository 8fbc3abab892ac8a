import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from guest_driver.kernel import Kernel, WaitQueue
from guest_driver.mm import buddy
from guest_driver.mm.linked_list import free_list
from guest_driver.mm.mem_map import Gfp, MemMap
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.page_reporting import CAPACITY, DELAY_S, Block, PageReporting
from guest_driver.mm.zone import ORDERS, ZoneCount, make_zone

FRAMES = 64 * 1024
MOVABLE, UNMOVABLE = Migratetype.MOVABLE, Migratetype.UNMOVABLE


class Bench:
    """Page frames, all free, and a host that notes what it is told."""

    def __init__(self, frames=FRAMES, pageblock_order=9):
        self.kernel = Kernel()
        self.zone = make_zone(frames, pageblock_order=pageblock_order)
        buddy.free_boot_memory(self.zone, 0, frames)
        self.mm = MemMap(self.zone, self.kernel)
        self.reporting = PageReporting(self.mm)
        self.told: list[list[Block]] = []
        self.error = 0
        self.answered = WaitQueue()
        self.holding = False

    def report(self, blocks):
        self.told.append(blocks)
        while self.holding:
            yield self.answered
        return self.error

    def run_until(self, now_s):
        while (due_s := self.kernel.run(self.kernel.now_s)) is not None and due_s <= now_s:
            self.kernel.run(due_s)
        self.kernel.now_s = now_s

    def look(self):
        """Let one look pass; return what was told in it."""
        before = len(self.told)
        self.run_until(self.kernel.now_s + DELAY_S)
        return self.told[before:]

    def answer(self):
        self.holding = False
        self.kernel.wake(self.answered)
        self.kernel.run(self.kernel.now_s)

    def free_blocks(self):
        return np.flatnonzero(self.zone.flags & int(PageFlag.BUDDY)).tolist()

    def list_of(self, order, migratetype):
        return self.mm.list_pages(free_list(self.zone, order, int(migratetype)))


@pytest.fixture
def bench():
    made = Bench()
    made.reporting.register(made.report)
    return made


def frames_of(reports):
    return sum(1 << block.order for report in reports for block in report)


def test_it_begins_two_seconds_after_the_registration(bench):
    """D13."""
    bench.run_until(1.999)
    assert bench.told == []
    bench.run_until(2)
    assert bench.told


def test_a_report_has_at_most_32_blocks_and_only_those_of_a_pageblock_or_more(bench):
    for _ in range(3):
        bench.mm.alloc_pages(Gfp.MOVABLE, 0)
    while reports := bench.look():
        assert all(len(report) <= CAPACITY for report in reports)
        assert all(9 <= block.order < ORDERS for report in reports for block in report)
    assert frames_of(bench.told) == FRAMES - 512


def test_in_a_guest_without_huge_pages_a_pageblock_is_the_largest_block():
    bench = Bench(pageblock_order=10)
    bench.reporting.register(bench.report)
    bench.look()
    assert {block.order for report in bench.told for block in report} == {10}


def test_what_was_reported_is_marked_and_free_and_not_reported_again(bench):
    while bench.look():
        pass
    assert bench.zone.counts[ZoneCount.FREE] == FRAMES
    assert all(bench.zone.flags[pfn] & PageFlag.REPORTED for pfn in bench.free_blocks())
    assert frames_of(bench.told) == FRAMES
    assert bench.look() == []


def test_one_look_reports_a_sixteenth_of_a_list_and_a_batch(bench):
    """D13: the budget of a list, here of 64 blocks, is one call, and the one that exhausts it."""
    assert len(bench.look()) == 2
    large = Bench(2048 * 1024)
    large.reporting.register(large.report)
    assert len(large.look()) == 2048 // (32 * 16) + 1


def test_what_was_used_and_freed_since_is_reported_again(bench):
    while bench.look():
        pass
    block = bench.mm.alloc_pages(Gfp.MOVABLE, 9)
    assert bench.look() == [[Block(block ^ 512, 9)]]
    bench.mm.free_pages(block, 9)
    assert bench.look() == [[Block(block & ~512, 10)]]


def test_the_marked_half_of_a_block_that_grew_is_reported_with_the_other(bench):
    first, second = sorted(bench.mm.alloc_pages(Gfp.MOVABLE, 9) for _ in range(2))
    while bench.look():
        pass
    bench.mm.free_pages(first, 9)
    assert bench.look() == [[Block(first, 9)]]
    bench.mm.free_pages(second, 9)
    assert bench.look() == [[Block(first, 10)]]


def test_a_block_that_grows_while_it_is_reported_is_not_marked_at_the_size_that_it_was_not(bench):
    first, second = sorted(bench.mm.alloc_pages(Gfp.MOVABLE, 9) for _ in range(2))
    while bench.look():
        pass
    bench.mm.free_pages(first, 9)
    bench.holding = True
    assert bench.look() == [[Block(first, 9)]]
    bench.mm.free_pages(second, 9)
    bench.answer()
    assert bench.zone.flags[first] == PageFlag.BUDDY
    assert bench.zone.order[first] == 10
    assert bench.look() == [[Block(first, 10)]]


def test_blocks_are_nobodys_while_they_are_reported(bench):
    bench.holding = True
    (report,) = bench.look()
    assert bench.zone.counts[ZoneCount.FREE] == FRAMES - frames_of([report])
    assert bench.zone.nr_free[10] == FRAMES // 1024 - CAPACITY
    taken = set()
    while (page := bench.mm.alloc_pages(Gfp.MOVABLE, 10)) is not None:
        taken.add(page)
    assert taken.isdisjoint(block.page for block in report)
    assert len(taken) == FRAMES // 1024 - CAPACITY
    bench.answer()
    assert bench.mm.alloc_pages(Gfp.MOVABLE, 10) is not None


def test_reported_blocks_go_to_the_end_of_their_list(bench):
    bench.holding = True
    (report,) = bench.look()
    bench.holding = False
    bench.error = -errno.EIO
    bench.answer()
    assert set(bench.list_of(10, MOVABLE)[-CAPACITY:]) == {block.page for block in report}


def test_while_a_report_is_under_way_a_list_begins_with_what_is_still_to_be_told(bench):
    while bench.look():
        pass
    used = [bench.mm.alloc_pages(Gfp.MOVABLE, 10) for _ in range(CAPACITY + 1)]
    for page in used:
        bench.mm.free_pages(page, 10)
    known = bench.list_of(10, MOVABLE)[-1]
    bench.mm.list_del(known)
    bench.mm.list_add(known, free_list(bench.zone, 10, int(MOVABLE)))
    bench.holding = True
    (report,) = bench.look()
    (left,) = set(used) - {block.page for block in report}
    assert bench.list_of(10, MOVABLE)[0] == left
    bench.answer()


def test_after_an_error_nothing_is_marked_and_all_is_tried_again_later(bench):
    bench.error = -errno.EIO
    assert len(bench.look()) == 1
    assert not any(bench.zone.flags[pfn] & PageFlag.REPORTED for pfn in bench.free_blocks())
    assert bench.zone.counts[ZoneCount.FREE] == FRAMES
    bench.error = 0
    while bench.look():
        pass
    assert all(bench.zone.flags[pfn] & PageFlag.REPORTED for pfn in bench.free_blocks())


def test_nothing_is_taken_where_little_is_free(bench):
    """D13: free memory above the low watermark, and a full report besides."""
    bench.zone.counts[ZoneCount.WMARK_LOW] = FRAMES - (CAPACITY << 9)
    assert bench.look() == []
    bench.zone.counts[ZoneCount.WMARK_LOW] -= 1
    assert bench.look() != []


def test_no_block_is_taken_below_the_lowest_watermark(bench):
    bench.zone.counts[ZoneCount.WMARK_MIN] = FRAMES - 3 * 1024
    bench.holding = True
    (report,) = bench.look()
    assert len(report) == 2


def test_every_type_of_block_is_reported_and_is_movable_afterwards(bench):
    unmovable = bench.mm.alloc_pages(Gfp.HIGHUSER, 9)
    assert bench.zone.block_type[unmovable >> 9] == UNMOVABLE
    bench.mm.free_pages(unmovable, 9)
    bench.holding = True
    bench.look()
    assert all(bench.zone.block_type[block.page >> 9] == MOVABLE for report in bench.told for block in report)
    bench.answer()
    while bench.look():
        pass
    assert frames_of(bench.told) >= FRAMES


def test_one_device_is_told_and_no_other(bench):
    other = Bench()
    assert not bench.reporting.register(other.report)
    bench.look()
    assert bench.told
    assert not other.told


def test_when_it_is_over_nothing_more_is_told_and_another_may_come(bench):
    bench.look()
    told = len(bench.told)
    bench.kernel.spawn(bench.reporting.unregister())
    bench.look()
    bench.look()
    assert len(bench.told) == told
    assert bench.kernel.run(bench.kernel.now_s) is None
    assert bench.reporting.register(bench.report)
    bench.mm.free_pages(bench.mm.alloc_pages(Gfp.MOVABLE, 10), 10)
    assert frames_of(bench.look()) == 1024


def test_a_new_registration_has_its_own_two_seconds(bench):
    bench.run_until(1)
    bench.kernel.spawn(bench.reporting.unregister())
    bench.run_until(1)
    bench.reporting.register(bench.report)
    bench.run_until(2.9)
    assert bench.told == []
    bench.run_until(3)
    assert bench.told


@pytest.mark.parametrize("end", ["unregister", "quiesce"])
def test_ending_waits_for_the_report_that_is_under_way(bench, end):
    ended = []

    def run():
        yield from getattr(bench.reporting, end)()
        ended.append(True)

    bench.holding = True
    bench.look()
    bench.kernel.spawn(run())
    bench.kernel.run(bench.kernel.now_s)
    assert ended == []
    bench.answer()
    assert ended == [True]


def test_with_nobody_registered_there_is_nothing_to_wait_for():
    bench = Bench()
    for thread in (bench.reporting.unregister(), bench.reporting.quiesce()):
        assert list(thread) == []


@examples(60)
@given(choices=st.lists(st.tuples(st.sampled_from(["alloc", "free", "look"]), st.integers(0, 10), st.booleans())))
def test_no_frame_is_lost_and_what_is_marked_was_told(choices):
    frames, taken = 4096, []
    bench = Bench(frames, pageblock_order=3)
    bench.reporting.register(bench.report)
    for what, number, movable in choices:
        if what == "alloc":
            page = bench.mm.alloc_pages(Gfp.MOVABLE if movable else Gfp.HIGHUSER, number)
            if page is not None:
                taken.append((page, number))
        elif what == "free" and taken:
            bench.mm.free_pages(*taken.pop(number % len(taken)))
        else:
            bench.look()
        held = sum(1 << order for _, order in taken)
        assert bench.zone.counts[ZoneCount.FREE] == frames - held
        free = {(page, int(bench.zone.order[page])) for page in bench.free_blocks()}
        assert sum(1 << order for _, order in free) == frames - held
        marked = {(page, order) for page, order in free if bench.zone.flags[page] & PageFlag.REPORTED}
        assert marked <= {(block.page, block.order) for report in bench.told for block in report}
