import pytest
from support.mm import MOVABLE, UNMOVABLE, Owner, booted, check_zone, laid_out, make_file_page, memory_of, run

from guest_driver.mm.buddy import free_pages, take_free_block
from guest_driver.mm.compact_control import VIA_COMPACT_MEMORY, Cc, CompactResult, make_control
from guest_driver.mm.compact_zone import (
    advance,
    begin,
    compaction_suitable,
    defer,
    defer_reset,
    deferred,
    fragmentation_index,
    reset_isolation_suitable,
)
from guest_driver.mm.compaction import run as compact
from guest_driver.mm.movable import MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount

BLOCK = 512
ASYNC, SYNC_LIGHT, SYNC = MigrateMode.ASYNC, MigrateMode.SYNC_LIGHT, MigrateMode.SYNC


def control(order=9, mode=SYNC_LIGHT, *, direct=True, whole_zone=False, ignore_skip_hint=False, migratetype=1):
    return make_control(
        order, mode, direct=direct, whole_zone=whole_zone, ignore_skip_hint=ignore_skip_hint, migratetype=migratetype
    )


def compacted(zone, **kwargs):
    """Run once; return how that ended. Pages of page cache have no owner that would have to be asked."""
    mm = memory_of(zone)
    cc = control(**kwargs)
    return run(mm.kernel, compact(mm, cc))


def fragmented(blocks, *, movable=()):
    """Return a zone with one page in the middle of each pageblock: of page cache in ``movable`` ones, or immovable."""
    zone = laid_out(blocks * BLOCK, range(256, blocks * BLOCK, BLOCK))
    for block in movable:
        make_file_page(zone, block * BLOCK + 256)
    return zone


# Whether to begin.


def test_nothing_is_compacted_where_a_block_is_free():
    assert compacted(booted(4096)) is CompactResult.SUCCESS


def test_the_min_watermark_says_whether_a_block_may_be_had():
    zone = booted(4096)
    zone.counts[ZoneCount.WMARK_MIN] = 4096 - BLOCK
    zone.counts[ZoneCount.WMARK_LOW] = 4096
    assert compaction_suitable(zone, 9) == CompactResult.SUCCESS


@pytest.mark.parametrize(("spare", "result"), [(0, CompactResult.SKIPPED), (1, CompactResult.CONTINUE)])
def test_room_for_twice_the_order_must_be_free_above_the_low_watermark(spare, result):
    zone = fragmented(8)
    zone.counts[ZoneCount.WMARK_LOW] = zone.counts[ZoneCount.FREE] - (2 << 9) - spare
    assert compaction_suitable(zone, 9) == result


@pytest.mark.parametrize(("spare", "result"), [(0, CompactResult.SKIPPED), (1, CompactResult.CONTINUE)])
def test_for_small_orders_the_min_watermark_counts(spare, result):
    zone = laid_out(512, range(1, 512, 2))
    zone.counts[ZoneCount.WMARK_MIN] = zone.counts[ZoneCount.FREE] - (2 << 3) - spare
    zone.counts[ZoneCount.WMARK_LOW] = 5000
    assert compaction_suitable(zone, 3) == result


def test_an_order_that_fails_for_lack_of_memory_is_not_compacted_for():
    zone = laid_out(16384, [pfn for pfn in range(16384) if pfn % BLOCK >= 256])
    free_pages(zone, 300, 0)
    free_pages(zone, 400, 0)
    assert fragmentation_index(zone, 9) == 500
    assert compaction_suitable(zone, 9) == CompactResult.SKIPPED
    free_pages(zone, 500, 0)
    assert fragmentation_index(zone, 9) > 500
    assert compaction_suitable(zone, 9) == CompactResult.CONTINUE


def test_the_fragmentation_index_is_that_of_linux():
    assert fragmentation_index(booted(1024), 9) == -1000
    assert fragmentation_index(laid_out(64, range(64)), 3) == 0
    assert fragmentation_index(fragmented(32), 9) == 1000 - (1000 + 32 * 511 * 1000 // 512) // (32 * 9)


def test_for_compact_memory_nothing_must_be_free():
    assert compaction_suitable(laid_out(64, range(64)), VIA_COMPACT_MEMORY) == CompactResult.CONTINUE


# Where to begin.


def test_the_whole_zone_is_scanned_from_its_ends():
    zone = fragmented(8)
    zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] = 2 * BLOCK
    cc = control(whole_zone=True)
    assert begin(zone, cc) == CompactResult.CONTINUE
    assert (cc.numbers[Cc.MIGRATE_PFN], cc.numbers[Cc.FREE_PFN]) == (0, 7 * BLOCK)


@pytest.mark.parametrize(("mode", "at"), [(ASYNC, 3 * BLOCK), (SYNC_LIGHT, 2 * BLOCK)])
def test_a_run_goes_on_where_the_last_of_its_mode_stopped(mode, at):
    zone = fragmented(8)
    zone.counts[ZoneCount.COMPACT_MIGRATE_ASYNC] = 3 * BLOCK
    zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] = 2 * BLOCK
    zone.counts[ZoneCount.COMPACT_FREE] = 5 * BLOCK
    cc = control(mode=mode)
    begin(zone, cc)
    assert (cc.numbers[Cc.MIGRATE_PFN], cc.numbers[Cc.FREE_PFN]) == (at, 5 * BLOCK)
    assert not cc.numbers[Cc.WHOLE_ZONE]


def test_a_run_from_the_bottom_is_one_of_the_whole_zone():
    cc = control()
    begin(fragmented(8), cc)
    assert cc.numbers[Cc.WHOLE_ZONE]


@pytest.mark.parametrize(("flush", "left"), [(1, 0), (0, 1)])
def test_the_attempt_after_the_longest_deferral_forgets_what_to_skip_unless_kswapd_did(flush, left):
    zone = fragmented(8)
    for _ in range(6):
        defer(zone, 9)
    while deferred(zone, 9):
        pass
    zone.block_skip[3] = 1
    zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = flush
    begin(zone, control())
    assert zone.block_skip[3] == left


# How it ends.


def test_the_scanners_meet_after_a_whole_scan():
    assert compacted(fragmented(8)) is CompactResult.COMPLETE


def test_the_scanners_meet_after_a_partial_scan():
    zone = fragmented(8)
    zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] = 2 * BLOCK
    assert compacted(zone) is CompactResult.PARTIAL_SKIPPED
    assert zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] == 0
    assert zone.counts[ZoneCount.COMPACT_FREE] == 7 * BLOCK


@pytest.mark.parametrize("direct", [True, False])
def test_only_a_direct_run_has_kswapd_forget_what_to_skip(direct):
    zone = fragmented(8)
    compacted(zone, direct=direct)
    assert zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] == direct


def test_a_run_ends_as_soon_as_a_block_is_free():
    zone = fragmented(8, movable=range(8))
    assert compacted(zone) is CompactResult.SUCCESS
    census = check_zone(zone)
    assert [pfn for pfn, order in census.free.items() if order >= 9] == [0]
    assert not census.plain - set(range(256, 4096, BLOCK))


@pytest.mark.parametrize(
    ("block_type", "order", "result"),
    [
        (MOVABLE, 3, CompactResult.SUCCESS),
        (UNMOVABLE, 3, CompactResult.COMPLETE),  # too small for movable pages to take the pageblock with it
        (UNMOVABLE, 4, CompactResult.SUCCESS),
    ],
)
def test_a_run_ends_at_a_block_that_the_type_has_or_may_take(block_type, order, result):
    zone = laid_out(4 * BLOCK, range(1 << order, 4 * BLOCK))
    take_free_block(zone, 0)
    zone.block_type[0] = block_type
    free_pages(zone, 0, order)
    cc = control(order=2)
    cc.numbers[Cc.FREE_PFN] = 3 * BLOCK
    cc.numbers[Cc.WHOLE_ZONE] = 1
    advance(zone, cc)
    assert cc.numbers[Cc.RESULT] == result


def test_with_too_little_free_to_migrate_to_a_run_ends_contended_and_nothing_is_lost():
    zone = fragmented(8, movable=range(8))
    before = check_zone(zone)
    zone.counts[ZoneCount.WMARK_MIN] = zone.counts[ZoneCount.FREE]
    assert compacted(zone, order=VIA_COMPACT_MEMORY, direct=False, whole_zone=True) is CompactResult.CONTENDED
    assert check_zone(zone) == before


def test_free_pages_that_were_taken_are_freed_again_when_a_run_ends_contended():
    zone = laid_out(8 * BLOCK, [*range(200), *range(256, 8 * BLOCK, BLOCK)])
    for page in range(200):
        make_file_page(zone, page)
    zone.counts[ZoneCount.WMARK_MIN] = zone.counts[ZoneCount.FREE] - 300  # once 256 are taken, no more
    result = compacted(zone, order=VIA_COMPACT_MEMORY, direct=False, whole_zone=True)
    census = check_zone(zone)
    assert result in {CompactResult.CONTENDED, CompactResult.COMPLETE}
    assert len(census.lru) == 200
    assert census.plain == set(range(256, 8 * BLOCK, BLOCK))
    assert zone.counts[ZoneCount.FREE] == 8 * BLOCK - 208


def test_what_was_taken_and_not_used_is_where_the_next_run_begins():
    zone = fragmented(8, movable=[0])
    zone.counts[ZoneCount.COMPACT_FREE] = 3 * BLOCK
    compacted(zone, whole_zone=True)
    assert zone.counts[ZoneCount.COMPACT_FREE] == 7 * BLOCK


def test_pages_that_fail_go_back_and_are_counted():
    zone = fragmented(8, movable=range(8))
    zone.counts[ZoneCount.MIGRATE_FAIL_PPM] = 1_000_000
    before = check_zone(zone)
    assert compacted(zone) is CompactResult.COMPLETE
    assert check_zone(zone) == before
    assert zone.events[VmEvent.PGMIGRATE_FAIL] == 7
    assert zone.events[VmEvent.PGMIGRATE_SUCCESS] == 0


def test_some_pages_fail_at_a_rate():
    zone = laid_out(8 * BLOCK, [*range(4 * BLOCK), *range(4 * BLOCK, 8 * BLOCK, BLOCK)])
    for page in range(4 * BLOCK):
        make_file_page(zone, page)
    zone.counts[ZoneCount.MIGRATE_FAIL_PPM] = 200_000
    compacted(zone, order=VIA_COMPACT_MEMORY, whole_zone=True, direct=False)
    moved, failed = (int(zone.events[event]) for event in (VmEvent.PGMIGRATE_SUCCESS, VmEvent.PGMIGRATE_FAIL))
    assert 0.15 < failed / (moved + failed) < 0.25
    assert len(check_zone(zone).lru) == 4 * BLOCK


def test_page_cache_and_owned_pages_of_one_batch_are_both_migrated():
    zone = laid_out(4 * BLOCK, [*range(20), 4 * BLOCK - 1])
    mm = memory_of(zone)
    owner = Owner(mm)
    for page in range(20):
        if page % 2:
            owner.adopt(page)
        else:
            make_file_page(zone, page)
    run(mm.kernel, compact(mm, control(order=VIA_COMPACT_MEMORY, mode=SYNC, direct=False, whole_zone=True)))
    census = check_zone(zone)
    assert len(census.lru) == len(census.owned) == 10
    assert min(census.lru | census.owned) >= 3 * BLOCK
    assert zone.events[VmEvent.PGMIGRATE_SUCCESS] == 20


def test_a_migrated_page_is_what_it_was():
    zone = fragmented(8, movable=[0])
    zone.flags[256] |= int(PageFlag.MAPPED)
    compacted(zone, whole_zone=True)
    (page,) = check_zone(zone).lru
    assert page >= 7 * BLOCK
    assert zone.flags[page] == int(PageFlag.LRU | PageFlag.MAPPED)


# Deferral.


def test_an_order_that_has_not_failed_is_not_deferred():
    zone = booted(64)
    assert not deferred(zone, 9)
    defer(zone, 9)
    assert not deferred(zone, 8)


def test_each_failure_doubles_the_attempts_left_out_up_to_64():
    zone = booted(64)
    left_out = []
    for _ in range(8):
        defer(zone, 9)
        left_out.append(next(count for count in range(100) if not deferred(zone, 9)))
    assert left_out == [1, 3, 7, 15, 31, 63, 63, 63]


def test_an_order_below_the_one_that_failed_fails_for_all_above():
    zone = booted(64)
    defer(zone, 9)
    defer(zone, 5)
    defer(zone, 7)
    assert deferred(zone, 5)


def test_a_run_that_succeeded_lets_its_order_be_tried_and_larger_ones_wait():
    zone = booted(64)
    for _ in range(2):
        defer(zone, 5)
    defer_reset(zone, 6, False)
    assert not deferred(zone, 6)
    assert [deferred(zone, 7) for _ in range(4)] == [True, True, True, False]


def test_an_allocation_that_succeeded_ends_deferral():
    zone = booted(64)
    for _ in range(3):
        defer(zone, 9)
    defer_reset(zone, 9, True)
    defer(zone, 9)
    assert [deferred(zone, 9) for _ in range(2)] == [True, False]


def test_forgetting_begins_at_the_ends_again():
    zone = fragmented(8)
    zone.block_skip[:] = 1
    for position in (ZoneCount.COMPACT_MIGRATE_ASYNC, ZoneCount.COMPACT_MIGRATE_SYNC, ZoneCount.COMPACT_FREE):
        zone.counts[position] = 3 * BLOCK
    zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = 1
    reset_isolation_suitable(zone)
    assert not zone.block_skip.any()
    assert zone.counts[ZoneCount.COMPACT_MIGRATE_ASYNC] == zone.counts[ZoneCount.COMPACT_MIGRATE_SYNC] == 0
    assert zone.counts[ZoneCount.COMPACT_FREE] == 7 * BLOCK
    assert not zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH]
