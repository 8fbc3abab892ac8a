import pytest
from support.mm import (
    LARGEST,
    MOVABLE,
    RECLAIMABLE,
    UNMOVABLE,
    booted,
    check_zone,
    free_blocks,
    laid_out,
    make_file_page,
)

from guest_driver.mm.buddy import free_boot_memory, free_pages, rmqueue, take_free_block, watermark_ok
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import ZoneCount, make_zone

BLOCK = 512


def own(zone, block, migratetype, kept=()):
    """Make a pageblock a type's: all of it was taken, and what is not ``kept`` was freed again."""
    zone.block_type[block] = migratetype
    for pfn in range(block * BLOCK, (block + 1) * BLOCK):
        if pfn not in kept:
            free_pages(zone, pfn, 0)


def with_blocks_taken(blocks):
    """Return a zone of so many pageblocks, no frame of which is free."""
    return laid_out(blocks * BLOCK, range(blocks * BLOCK))


def test_boot_memory_is_free_in_the_largest_blocks_that_fit():
    zone = make_zone(5000)
    free_boot_memory(zone, 3, 4999)
    census = check_zone(zone)
    assert census.reserved == {0, 1, 2, 4999}
    assert [pfn for pfn, order in census.free.items() if order == LARGEST] == [1024, 2048, 3072]
    assert zone.counts[ZoneCount.MANAGED] == zone.counts[ZoneCount.FREE] == 4996


def test_boot_memory_is_taken_from_the_lowest_frame_on():
    zone = booted(4096)
    assert [rmqueue(zone, LARGEST, MOVABLE) for _ in range(5)] == [0, 1024, 2048, 3072, -1]


def test_boot_memory_that_comes_in_parts_becomes_one_block():
    zone = make_zone(1024)
    free_boot_memory(zone, 0, 500)
    free_boot_memory(zone, 500, 1024)
    assert check_zone(zone).free == {0: LARGEST}


@pytest.mark.parametrize("pageblock_order", [9, 10])
@pytest.mark.parametrize("frames", [1, 511, 1025, 2047, 3000])
def test_a_zone_need_not_end_where_a_pageblock_does(frames, pageblock_order):
    zone = booted(frames, pageblock_order=pageblock_order)
    pages = [rmqueue(zone, 0, MOVABLE) for _ in range(frames)]
    assert sorted(pages) == list(range(frames))
    assert rmqueue(zone, 0, MOVABLE) == -1
    for pfn in pages:
        free_pages(zone, pfn, 0)
    assert check_zone(zone).free == check_zone(booted(frames)).free


def test_a_block_is_split_and_its_upper_halves_stay_free():
    zone = booted(1024)
    assert rmqueue(zone, 3, MOVABLE) == 0
    assert check_zone(zone).free == {8: 3, 16: 4, 32: 5, 64: 6, 128: 7, 256: 8, 512: 9}


def test_a_block_of_several_frames_is_compound_with_one_reference():
    zone = booted(1024)
    pfn = rmqueue(zone, 4, MOVABLE)
    assert check_zone(zone).compound == {pfn: 4}
    assert zone.refcount[pfn] == 1


def test_buddies_that_are_freed_are_one_block_again():
    zone = booted(1024)
    blocks = [rmqueue(zone, 2, MOVABLE) for _ in range(256)]
    for pfn in blocks[::2] + blocks[1::2]:
        free_pages(zone, pfn, 2)
    assert check_zone(zone).free == {0: LARGEST}


def test_nothing_merges_beyond_the_largest_order():
    assert check_zone(booted(2048)).free == {0: LARGEST, 1024: LARGEST}


def test_the_block_freed_last_is_taken_first():
    zone = with_blocks_taken(1)
    for pfn in (0, 8, 16):
        free_pages(zone, pfn, 0)
    assert [rmqueue(zone, 0, MOVABLE) for _ in range(3)] == [16, 8, 0]


def test_a_block_that_will_soon_merge_waits_at_the_end_of_its_list():
    zone = with_blocks_taken(1)
    free_pages(zone, 16, 0)
    for pfn in (2, 3):
        free_pages(zone, pfn, 0)
    assert zone.order[2] == 1
    free_pages(zone, 0, 0)  # with frame 1 it would be a block of four: 2 and 3 are free as one
    assert free_blocks(zone, 0, MOVABLE) == [16, 0]


def test_the_last_two_orders_do_not_wait_to_merge():
    zone = laid_out(4096, range(4096))
    for pfn in range(3072, 4096):
        free_pages(zone, pfn, 0)
    zone.refcount[:1024] = 1
    free_pages(zone, 1024, 9)
    free_pages(zone, 2048, 9)  # its higher buddy, 3072, is free, as far as order 10 goes
    assert free_blocks(zone, 9, MOVABLE) == [2048, 1024]


def test_a_freed_block_is_of_the_type_of_its_pageblock():
    zone = with_blocks_taken(2)
    zone.block_type[1] = UNMOVABLE
    free_pages(zone, 0, 0)
    free_pages(zone, BLOCK, 0)
    assert free_blocks(zone, 0, MOVABLE) == [0]
    assert free_blocks(zone, 0, UNMOVABLE) == [BLOCK]


@pytest.mark.parametrize(
    ("wanted", "first", "second"),
    [
        (UNMOVABLE, RECLAIMABLE, MOVABLE),
        (MOVABLE, RECLAIMABLE, UNMOVABLE),
        (RECLAIMABLE, UNMOVABLE, MOVABLE),
    ],
)
def test_types_fall_back_in_their_order(wanted, first, second):
    zone = with_blocks_taken(2)
    zone.block_type[:] = [second, first]
    for pfn in (0, BLOCK):
        free_pages(zone, pfn, 0)
    assert [rmqueue(zone, 0, wanted) for _ in range(2)] == [BLOCK, 0]


def test_the_own_type_comes_first():
    zone = with_blocks_taken(2)
    own(zone, 0, UNMOVABLE)
    free_pages(zone, BLOCK, 0)
    assert rmqueue(zone, 0, MOVABLE) == BLOCK


def test_unmovable_pages_take_the_largest_block_and_claim_a_pageblock_that_is_half_free():
    zone = with_blocks_taken(2)
    free_pages(zone, 7, 0)
    own(zone, 1, MOVABLE, kept=range(BLOCK, BLOCK + BLOCK // 2))
    for pfn in range(BLOCK, BLOCK + BLOCK // 2):
        make_file_page(zone, pfn)
    pfn = rmqueue(zone, 0, UNMOVABLE)
    assert pfn // BLOCK == 1
    assert zone.block_type.tolist() == [MOVABLE, UNMOVABLE]
    assert free_blocks(zone, 0, MOVABLE) == [7]
    check_zone(zone)


def test_a_pageblock_that_is_less_than_half_free_keeps_its_type_but_gives_all_that_is():
    zone = with_blocks_taken(1)
    kept = range(BLOCK // 2 + 2)
    for pfn in kept:
        make_file_page(zone, pfn)
    own(zone, 0, MOVABLE, kept=kept)
    rmqueue(zone, 0, UNMOVABLE)
    assert zone.block_type[0] == MOVABLE
    assert not any(free_blocks(zone, order, MOVABLE) for order in range(LARGEST))
    check_zone(zone)


def test_pages_that_cannot_move_count_as_alike_in_a_movable_pageblock():
    zone = with_blocks_taken(1)
    own(zone, 0, MOVABLE, kept=range(BLOCK - 16))
    rmqueue(zone, 0, UNMOVABLE)
    assert zone.block_type[0] == UNMOVABLE


def test_between_unmovable_and_reclaimable_only_what_is_free_counts():
    zone = with_blocks_taken(1)
    own(zone, 0, RECLAIMABLE, kept=range(BLOCK // 2 + 1))
    rmqueue(zone, 0, UNMOVABLE)
    assert zone.block_type[0] == RECLAIMABLE


def test_movable_pages_count_their_like_and_claim_the_pageblock():
    zone = with_blocks_taken(1)
    for pfn in range(BLOCK - 16):
        make_file_page(zone, pfn)
    own(zone, 0, UNMOVABLE, kept=range(BLOCK - 16))
    assert rmqueue(zone, 0, MOVABLE) == BLOCK - 16
    assert zone.block_type[0] == MOVABLE


def test_owned_movable_pages_count_as_movable():
    zone = with_blocks_taken(1)
    zone.flags[: BLOCK - 16] = int(PageFlag.MOVABLE)
    own(zone, 0, UNMOVABLE, kept=range(BLOCK - 16))
    rmqueue(zone, 0, MOVABLE)
    assert zone.block_type[0] == MOVABLE


def test_movable_pages_that_cannot_steal_take_the_smallest_block():
    zone = with_blocks_taken(2)
    zone.block_type[:] = UNMOVABLE
    for pfn in (8, 9, 10, 11, BLOCK):
        free_pages(zone, pfn, 0)
    assert rmqueue(zone, 0, MOVABLE) == BLOCK
    assert zone.block_type.tolist() == [UNMOVABLE, UNMOVABLE]
    assert free_blocks(zone, 2, UNMOVABLE) == [8]


def test_movable_pages_steal_from_half_the_order_of_a_pageblock_on():
    zone = with_blocks_taken(2)
    zone.block_type[:] = UNMOVABLE
    for pfn in (*range(16, 32), BLOCK):
        free_pages(zone, pfn, 0)
    assert rmqueue(zone, 0, MOVABLE) == 16
    assert free_blocks(zone, 3, MOVABLE) == [24]
    assert free_blocks(zone, 0, UNMOVABLE) == [BLOCK]


def test_with_pageblocks_of_order_10_movable_pages_steal_from_order_5_on():
    zone = laid_out(1024, range(1024), pageblock_order=10)
    zone.block_type[:] = UNMOVABLE
    for pfn in (*range(16, 32), 512):
        free_pages(zone, pfn, 0)
    assert rmqueue(zone, 0, MOVABLE) == 512


def test_a_block_of_several_pageblocks_takes_all_of_them():
    zone = booted(2048)
    assert rmqueue(zone, 0, UNMOVABLE) == 0
    assert zone.block_type.tolist() == [UNMOVABLE, UNMOVABLE, MOVABLE, MOVABLE]
    check_zone(zone)


def test_of_a_pageblock_that_the_zone_cuts_off_only_the_block_itself_is_taken():
    zone = booted(500)
    rmqueue(zone, 0, UNMOVABLE)
    assert zone.block_type[0] == MOVABLE
    assert free_blocks(zone, 6, MOVABLE) == [384]
    check_zone(zone)


def test_a_block_taken_by_number_is_off_its_list():
    zone = booted(1024)
    take_free_block(zone, 0)
    assert zone.nr_free[LARGEST] == zone.counts[ZoneCount.FREE] == 0
    assert not free_blocks(zone, LARGEST, MOVABLE)


@pytest.mark.parametrize(("frames", "types"), [(256, [MOVABLE, UNMOVABLE]), (128, [UNMOVABLE, UNMOVABLE])])
def test_half_a_pageblock_taken_by_number_makes_it_movable(frames, types):
    zone = with_blocks_taken(2)
    zone.block_type[:] = UNMOVABLE
    for pfn in range(frames):
        free_pages(zone, pfn, 0)
    take_free_block(zone, 0)
    assert zone.block_type.tolist() == types


def test_a_block_of_several_pageblocks_taken_by_number_makes_all_of_them_movable():
    zone = booted(3072)
    zone.block_type[:] = UNMOVABLE
    take_free_block(zone, 1024)
    assert zone.block_type.tolist() == [UNMOVABLE] * 2 + [MOVABLE] * 2 + [UNMOVABLE] * 2


@pytest.mark.parametrize(("order", "mark", "ok"), [(0, 1023, True), (0, 1024, False), (9, 512, True), (9, 513, False)])
def test_a_watermark_holds_if_more_than_it_stays_free(order, mark, ok):
    assert watermark_ok(booted(1024), order, mark) is ok


def test_a_watermark_of_an_order_wants_a_block_of_it():
    zone = laid_out(1024, range(0, 1024, 256))
    assert watermark_ok(zone, 7, 0)
    assert not watermark_ok(zone, 8, 0)
