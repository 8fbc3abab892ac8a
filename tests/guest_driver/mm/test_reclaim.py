import pytest
from support.mm import booted, check_zone, list_of, memory_of

from guest_driver.mm.linked_list import mapping_list
from guest_driver.mm.page_cache import add_file_pages, add_slab_pages
from guest_driver.mm.reclaim import balance, drop_caches, reclaim_direct, reclaim_for_compaction
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import MappingId, ZoneCount

FRAMES = 2048


@pytest.fixture
def zone():
    return booted(FRAMES)


def slab_of(zone):
    return list_of(zone, int(mapping_list(zone, int(MappingId.SLAB))))


def test_the_oldest_pages_of_page_cache_go_first(zone):
    add_file_pages(zone, 100)
    files = list_of(zone, int(mapping_list(zone, int(MappingId.FILE))))
    assert reclaim_direct(zone) == 32
    assert list_of(zone, int(mapping_list(zone, int(MappingId.FILE)))) == files[:-32]
    check_zone(zone)


def test_slab_is_scanned_in_its_share(zone):
    add_file_pages(zone, 300)
    add_slab_pages(zone, 100)
    reclaim_direct(zone)
    assert zone.events[VmEvent.SLABS_SCANNED] == 8
    assert zone.counts[ZoneCount.FILE] == 300 - 24


def test_slab_in_use_goes_to_the_young_end(zone):
    add_slab_pages(zone, 32)
    before = slab_of(zone)
    freed = reclaim_direct(zone)
    assert 0 < freed < 32
    assert slab_of(zone) == [pfn for pfn in before if pfn in slab_of(zone)]
    assert zone.events[VmEvent.SLABS_SCANNED] == 32
    assert zone.counts[ZoneCount.SLAB] == 32 - freed
    check_zone(zone)


def test_slab_that_was_in_use_is_looked_at_last(zone):
    add_slab_pages(zone, 200)
    oldest = slab_of(zone)[-32:]
    reclaim_direct(zone)
    kept = [pfn for pfn in oldest if pfn in slab_of(zone)]
    assert slab_of(zone)[: len(kept)] == kept


def test_kswapd_sleeps_until_it_is_woken(zone):
    zone.counts[ZoneCount.WMARK_HIGH] = FRAMES
    add_file_pages(zone, 100)
    assert balance(zone) == 0


def test_kswapd_brings_free_memory_above_the_high_watermark(zone):
    add_file_pages(zone, 640)
    zone.counts[ZoneCount.WMARK_HIGH] = FRAMES - 320
    zone.counts[ZoneCount.KSWAPD_WOKEN] = 1
    assert balance(zone) == 352
    assert zone.counts[ZoneCount.FREE] == FRAMES - 288
    assert zone.events[VmEvent.PGSTEAL_KSWAPD] == 352
    assert not zone.counts[ZoneCount.KSWAPD_WOKEN]


def test_kswapd_gives_up_where_nothing_is_left(zone):
    add_file_pages(zone, 50)
    zone.counts[ZoneCount.WMARK_HIGH] = FRAMES
    zone.counts[ZoneCount.KSWAPD_WOKEN] = 1
    assert balance(zone) == 50


def test_reclaim_for_compaction_stops_at_room_enough(zone):
    add_file_pages(zone, 1500)
    zone.counts[ZoneCount.WMARK_HIGH] = 500
    assert reclaim_for_compaction(zone, 6) == 96  # 128 are wanted above the watermark, and 548 were free
    assert zone.events[VmEvent.ALLOCSTALL] == 1
    assert zone.events[VmEvent.PGSTEAL_DIRECT] == 96


def test_reclaim_for_compaction_brings_twice_the_order_at_most(zone):
    add_file_pages(zone, 1500)
    zone.counts[ZoneCount.WMARK_HIGH] = 2000
    assert reclaim_for_compaction(zone, 5) == 64


def test_caches_are_dropped_with_and_without_slab(zone):
    add_file_pages(zone, 100)
    add_slab_pages(zone, 100)
    drop_caches(zone, False)
    assert (zone.counts[ZoneCount.FILE], zone.counts[ZoneCount.SLAB]) == (0, 100)
    drop_caches(zone, True)
    assert 0 < zone.counts[ZoneCount.SLAB] < 100
    check_zone(zone)


def test_kswapd_is_a_thread_that_an_allocation_wakes(zone):
    mm = memory_of(zone)
    add_file_pages(zone, 640)
    zone.counts[ZoneCount.WMARK_LOW] = FRAMES - 600
    zone.counts[ZoneCount.WMARK_HIGH] = FRAMES - 500
    mm.wake_kswapd()
    mm.kernel.run(0)
    assert zone.counts[ZoneCount.FREE] == FRAMES - 640
    add_file_pages(zone, 1)
    mm.wake_kswapd()
    mm.kernel.run(0)
    assert zone.counts[ZoneCount.FREE] > FRAMES - 500


class Spare:
    """Has pages that it can do without."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []

    def count(self):
        return self.pages

    def scan(self, pages):
        self.asked.append(pages)
        return min(pages, self.pages)
        yield


def test_kswapd_asks_shrinkers_for_what_page_cache_did_not_give(zone):
    mm = memory_of(zone)
    empty, first, second = Spare(0), Spare(30), Spare(200)
    mm.shrinkers.extend([empty, first, second])
    zone.counts[ZoneCount.WMARK_HIGH] = FRAMES + 100
    zone.counts[ZoneCount.KSWAPD_WOKEN] = 1
    mm.wake_kswapd()
    mm.kernel.run(0)
    assert (empty.asked, first.asked, second.asked) == ([], [100], [70])


def test_kswapd_forgets_pageblocks_to_skip_after_a_failed_compaction(zone):
    mm = memory_of(zone)
    zone.block_skip[1] = 1
    for flush, left in ((0, 1), (1, 0)):
        zone.counts[ZoneCount.COMPACT_BLOCKSKIP_FLUSH] = flush
        zone.counts[ZoneCount.KSWAPD_WOKEN] = 1
        mm.wake_kswapd()
        mm.kernel.run(0)
        assert zone.block_skip[1] == left
