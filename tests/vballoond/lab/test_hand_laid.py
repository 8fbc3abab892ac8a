"""What compaction makes of 64 MiB with one balloon page in the middle of each pageblock, and all else free.

The state is reached through the driver and the device: a balloon of all memory, deflated to those pages.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.mm import run
from support.whole_guest import WholeGuest

from guest_driver.mm.compaction import alloc_high_order, compact_memory
from guest_driver.mm.linked_list import list_add_tail, list_del
from guest_driver.mm.page_flags import Migratetype
from guest_driver.mm.watermarks import set_min_free_frames, set_recommended_watermarks
from guest_driver.mm.zone import PAGEBLOCK_ORDER
from vballoond.balloon.counters import Counters

BLOCK_FRAMES = 1 << PAGEBLOCK_ORDER
BLOCKS = 64 * 256 // BLOCK_FRAMES
FIRST = 1  # block 0 has frames of the kernel's, and is never free as a whole
MIDDLES = [block * BLOCK_FRAMES + BLOCK_FRAMES // 2 for block in range(FIRST, BLOCKS)]

every_interface = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])


@contextmanager
def hand_laid(interface: str, *, balloon_compaction: bool) -> Iterator[WholeGuest]:
    whole = WholeGuest(64, interface=interface, balloon_compaction=balloon_compaction)
    try:
        _take_all_memory(whole)
        _deflate_last(whole, MIDDLES)
        whole.resize(len(MIDDLES))
        assert sorted(whole.listed) == MIDDLES
        yield whole
        whole.check()
        whole.shut_down()
    finally:
        whole.close()


def _take_all_memory(whole: WholeGuest) -> None:
    set_min_free_frames(whole.guest.zone, 0)
    whole.resize(whole.guest.counts.free)
    assert whole.guest.counts.free == 0
    set_recommended_watermarks(whole.guest.zone)


def _deflate_last(whole: WholeGuest, pages: list[int]) -> None:
    """Have some pages lie in the list as if they were in the balloon for longest."""
    for page in pages:
        list_del(whole.guest.zone, page)
        list_add_tail(whole.guest.zone, page, whole.bdi.pages)


def free_huge_pages(whole: WholeGuest) -> int:
    """How many blocks of order 9 are free, alone or within larger ones."""
    orders = range(PAGEBLOCK_ORDER, len(whole.guest.zone.nr_free))
    return sum(int(whole.guest.zone.nr_free[order]) << order - PAGEBLOCK_ORDER for order in orders)


def compact(whole: WholeGuest) -> dict[str, int]:
    """Compact all memory; return what the device counted meanwhile."""
    before = _numbers(whole.device.device.counters)
    run(whole.guest.kernel, compact_memory(whole.mm))
    after = _numbers(whole.device.device.counters)
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def _numbers(counters: Counters) -> dict[str, int]:
    return {name: getattr(counters, name) for name in Counters.__slots__}


def alloc_huge(whole: WholeGuest) -> Any:
    return run(whole.guest.kernel, alloc_high_order(whole.mm, PAGEBLOCK_ORDER, int(Migratetype.MOVABLE)))


@pytest.fixture(scope="module", params=["2012", "2022", "2026"])
def compacted(request: pytest.FixtureRequest) -> Iterator[tuple[WholeGuest, dict[str, int]]]:
    """A guest whose balloon pages can be moved, compacted once, and what the device counted meanwhile."""
    with hand_laid(request.param, balloon_compaction=True) as whole:
        assert free_huge_pages(whole) == 0
        yield whole, compact(whole)


def test_compaction_packs_the_balloon_into_one_pageblock(compacted):
    """S13; 2.2 B2: a block that holds nothing but a balloon page can be emptied."""
    whole, _ = compacted
    assert free_huge_pages(whole) == len(MIDDLES) - 1
    packed = whole.listed
    assert {page // BLOCK_FRAMES for page in packed} == {BLOCKS - 1}
    assert len(set(packed)) == len(MIDDLES)
    assert whole.device.held == set(packed)


def test_each_migration_is_two_requests_of_a_frame(compacted):
    whole, counted = compacted
    moved = len(MIDDLES) - 1  # that of the last pageblock is where the others go
    assert counted == {
        "inflate_requests": moved,
        "inflated_frames": moved,
        "deflate_requests": moved,
        "deflated_frames": moved,
        "migrated_frames": moved,
    }
    name = "compact_balloon_migrated" if whole.guest.options.interface == "2012" else "balloon_migrate"
    assert whole.guest.vmstat()[name] == moved


def test_migration_does_not_change_the_size(compacted):
    whole, _ = compacted
    assert whole.device.device.state.config.actual == len(MIDDLES)
    assert whole.device.device.state.config.num_pages == len(MIDDLES)


def test_compacting_again_moves_nothing(compacted):
    whole, _ = compacted
    assert compact(whole) == {}
    assert free_huge_pages(whole) == len(MIDDLES) - 1


@every_interface
def test_nothing_is_freed_where_balloon_pages_cannot_be_moved(interface):
    """S25: the balloon fills and empties all the same."""
    with hand_laid(interface, balloon_compaction=False) as whole:
        assert free_huge_pages(whole) == 0
        assert compact(whole) == {}
        assert free_huge_pages(whole) == 0
        assert sorted(whole.listed) == MIDDLES
        assert whole.device.held == set(MIDDLES)
        assert alloc_huge(whole) is None


@every_interface
def test_a_huge_page_is_had_by_moving_the_balloon(interface):
    with hand_laid(interface, balloon_compaction=True) as whole:
        head = alloc_huge(whole)
        assert head is not None
        assert not set(range(head, head + BLOCK_FRAMES)) & set(whole.listed)
        assert whole.device.held == set(whole.listed)
        whole.blocks[head] = PAGEBLOCK_ORDER
