"""What the migrate and the free scanner take, and what they leave alone, on zones laid out by hand."""

import pytest
from support.mm import UNMOVABLE, Owner, check_zone, laid_out, make_file_page, memory_of, run

from guest_driver.mm.compact_control import VIA_COMPACT_MEMORY, make_control
from guest_driver.mm.compaction import run as compact
from guest_driver.mm.movable import MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount

BLOCK = 512
FRAMES = 8 * BLOCK
MIDDLES = range(256, FRAMES, BLOCK)
ASYNC, SYNC_LIGHT, SYNC = MigrateMode.ASYNC, MigrateMode.SYNC_LIGHT, MigrateMode.SYNC


class Rig:
    """A zone with an immovable page in the middle of each pageblock, and ``more`` taken pages."""

    def __init__(self, more=()):
        self.mm = memory_of(laid_out(FRAMES, {*MIDDLES, *more}))
        self.zone = self.mm.zone
        self.owner = Owner(self.mm)

    def file(self, *pages):
        for page in pages:
            make_file_page(self.zone, page)

    def own(self, *pages):
        for page in pages:
            self.owner.adopt(page)

    def compact(self, order=9, mode=SYNC_LIGHT, *, direct=True, whole_zone=False, ignore=False, migratetype=1):
        cc = make_control(
            order, mode, direct=direct, whole_zone=whole_zone, ignore_skip_hint=ignore, migratetype=migratetype
        )
        return run(self.mm.kernel, compact(self.mm, cc))

    def event(self, event):
        return int(self.zone.events[event])


def test_a_block_with_owned_pages_only_is_emptied():
    """B2: pages of a balloon were skipped where no page of the LRU had the lock taken."""
    rig = Rig()
    rig.own(256)
    rig.compact()
    assert check_zone(rig.zone).free[0] == 9
    assert rig.owner.pages == {rig.owner.migrations[0][1]}


def test_of_a_pageblock_32_pages_are_isolated_and_then_all_the_rest():
    pages = range(512, 612)
    rig = Rig(pages)
    rig.own(*pages)
    rig.compact(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True)
    assert [old for old, _ in rig.owner.migrations] == [*range(543, 511, -1), *range(611, 543, -1)]
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 100
    check_zone(rig.zone)


def test_what_cannot_be_moved_is_left_alone():
    rig = Rig([0, 1, 2, 3])
    rig.zone.flags[1] = int(PageFlag.SLAB | PageFlag.MOVABLE)
    rig.zone.flags[2] = int(PageFlag.RESERVED)
    rig.own(3)
    rig.owner.refuses = True
    assert rig.compact(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True)
    assert rig.event(VmEvent.COMPACT_ISOLATED) == 0
    assert rig.owner.pages == {3}
    assert rig.zone.refcount[3] == 1


def test_a_compound_page_is_stepped_over_even_on_a_list():
    rig = Rig(range(8))
    rig.file(0)
    rig.zone.flags[0] |= int(PageFlag.HEAD)
    rig.zone.order[0] = 3
    rig.zone.refcount[1:8] = 0
    rig.compact(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True)
    assert rig.zone.flags[0] & int(PageFlag.HEAD)
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 0


def test_without_waiting_a_chunk_is_given_up_at_its_first_failure_and_what_was_isolated_goes_back():
    rig = Rig(range(10))
    rig.file(0, 1, 2, 3, 4)
    rig.own(5, 6, 7, 8, 9)
    before = check_zone(rig.zone)
    rig.compact(mode=ASYNC)
    assert check_zone(rig.zone) == before
    assert rig.owner.put_back == [9, 8, 7, 6, 5]
    assert rig.owner.migrations == []
    assert not rig.owner.isolated


def test_for_a_smaller_order_only_a_smaller_chunk_is_given_up():
    rig = Rig(range(1, FRAMES, 4))
    movable = [page for page in range(1, 64, 4) if page != 9]
    rig.own(*movable)
    rig.compact(4, ASYNC)
    assert {old for old, _ in rig.owner.migrations} == set(range(17, 64, 4))
    assert rig.owner.put_back == [5, 1]
    assert 16 in check_zone(rig.zone).free


def test_waiting_all_that_can_be_taken_is():
    rig = Rig(range(10))
    rig.file(0, 1, 2, 3, 4)
    rig.own(5, 6, 7, 8, 9)
    rig.compact(mode=SYNC_LIGHT)
    assert min(check_zone(rig.zone).lru | rig.owner.pages) >= 7 * BLOCK
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 10


def test_not_asked_for_by_an_allocation_no_chunk_is_given_up():
    rig = Rig(range(4))
    rig.file(0, 1, 2, 3)
    rig.compact(mode=ASYNC, direct=False)
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 4


@pytest.mark.parametrize(("mode", "moved"), [(ASYNC, 0), (SYNC_LIGHT, 1)])
def test_without_waiting_only_pageblocks_of_the_type_are_emptied(mode, moved):
    rig = Rig()
    rig.zone.block_type[0] = UNMOVABLE
    rig.file(256)
    rig.compact(mode=mode)
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == moved


def test_for_unmovable_pages_that_is_the_unmovable_ones():
    rig = Rig()
    rig.zone.block_type[0] = UNMOVABLE
    rig.file(256, 256 + BLOCK)
    rig.compact(mode=ASYNC, migratetype=UNMOVABLE)
    assert check_zone(rig.zone).free[0] == 9
    assert 256 + BLOCK in check_zone(rig.zone).lru


def test_only_movable_pageblocks_are_filled():
    rig = Rig()
    rig.zone.block_type[5:] = UNMOVABLE
    rig.own(256)
    rig.compact()
    assert {new // BLOCK for _, new in rig.owner.migrations} == {4}


def test_a_pageblock_that_is_free_as_a_whole_is_not_filled():
    mm = memory_of(laid_out(FRAMES, [256, 256 + 6 * BLOCK]))
    owner = Owner(mm)
    owner.adopt(256)
    cc = make_control(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True, ignore_skip_hint=True)
    run(mm.kernel, compact(mm, cc))
    assert [new // BLOCK for _, new in owner.migrations] == [6]


def test_a_pageblock_in_which_nothing_could_be_isolated_is_to_be_skipped():
    rig = Rig()
    rig.own(256 + 2 * BLOCK)
    rig.compact(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True)
    assert rig.zone.block_skip.tolist() == [1, 1, 0, 1, 1, 1, 1, 0]


def test_a_pageblock_of_which_only_the_rest_was_of_no_use_is_not_to_be_skipped():
    rig = Rig(range(512, 544))
    rig.own(*range(512, 544))
    rig.compact(VIA_COMPACT_MEMORY, SYNC, direct=False, whole_zone=True)
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 32
    assert rig.zone.block_skip[1] == 0


def test_a_pageblock_to_be_skipped_is_not_scanned_unless_that_is_ignored():
    rig = Rig()
    rig.compact()
    scanned = rig.event(VmEvent.COMPACT_MIGRATE_SCANNED)
    assert scanned
    rig.compact()
    assert rig.event(VmEvent.COMPACT_MIGRATE_SCANNED) == scanned
    rig.compact(ignore=True)
    assert rig.event(VmEvent.COMPACT_MIGRATE_SCANNED) == 2 * scanned


def test_a_pageblock_to_be_skipped_is_not_filled():
    rig = Rig()
    rig.own(256)
    rig.zone.block_skip[6:] = 1
    rig.compact()
    assert {new // BLOCK for _, new in rig.owner.migrations} == {5}


def test_a_pageblock_that_gave_all_it_had_is_to_be_skipped_and_the_free_scanner_goes_on_below():
    rig = Rig([*range(8), *range(7 * BLOCK + 4, FRAMES)])
    rig.own(*range(8))
    rig.compact()
    assert {new // BLOCK for _, new in rig.owner.migrations} == {6}  # what was taken last is handed out first
    assert rig.zone.block_skip[6:].tolist() == [0, 1]
    check_zone(rig.zone)


@pytest.mark.parametrize(("mode", "cached"), [(ASYNC, (2 * BLOCK, 0)), (SYNC_LIGHT, (2 * BLOCK, 2 * BLOCK))])
def test_the_next_run_begins_behind_what_was_of_no_use(mode, cached):
    rig = Rig()
    rig.own(256 + 2 * BLOCK)
    rig.compact(mode=mode)
    counts = rig.zone.counts
    assert (counts[ZoneCount.COMPACT_MIGRATE_ASYNC], counts[ZoneCount.COMPACT_MIGRATE_SYNC]) == cached


def test_the_position_is_kept_even_where_what_to_skip_is_ignored():
    rig = Rig()
    rig.own(256 + 2 * BLOCK)
    rig.compact(ignore=True)
    assert rig.zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] == 2 * BLOCK


def test_what_is_scanned_and_isolated_is_counted():
    rig = Rig()
    rig.own(256)
    rig.compact()
    assert rig.event(VmEvent.COMPACT_MIGRATE_SCANNED) == 10  # the page, and nine free blocks around it
    assert rig.event(VmEvent.COMPACT_FREE_SCANNED) == 256
    assert rig.event(VmEvent.COMPACT_ISOLATED) == 257


def test_without_waiting_every_32nd_page_is_looked_at_for_a_free_one():
    taken = laid_out(FRAMES, {*MIDDLES, *(page for page in range(7 * BLOCK, FRAMES) if page % 32 != 1)})
    mm = memory_of(taken)
    owner = Owner(mm)
    owner.adopt(256)
    run(mm.kernel, compact(mm, make_control(9, ASYNC, direct=True, whole_zone=False, ignore_skip_hint=False)))
    assert [new // BLOCK for _, new in owner.migrations] == [6]
