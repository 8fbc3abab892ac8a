import pytest
from support.mm import MOVABLE, UNMOVABLE, booted, check_zone

from guest_driver.mm.alloc import alloc_pages, alloc_pages_noretry, take_above
from guest_driver.mm.page_cache import add_file_pages, add_kernel_pages
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount

FRAMES = 2048
MIN, LOW, HIGH = 100, 200, 300


@pytest.fixture
def zone():
    zone = booted(FRAMES)
    zone.counts[ZoneCount.WMARK_MIN] = MIN
    zone.counts[ZoneCount.WMARK_LOW] = LOW
    zone.counts[ZoneCount.WMARK_HIGH] = HIGH
    return zone


def fill(zone, *, until_free, cache=0):
    """Leave so many frames free, with so many pages of page cache."""
    add_file_pages(zone, cache)
    while zone.counts[ZoneCount.FREE] > until_free:
        take_above(zone, 0, UNMOVABLE, 0)


def test_above_the_low_watermark_nobody_is_woken(zone):
    fill(zone, until_free=LOW + 1)
    assert alloc_pages(zone, 0, MOVABLE) >= 0
    assert not zone.counts[ZoneCount.KSWAPD_WOKEN]


def test_at_the_low_watermark_kswapd_is_woken_and_the_page_taken(zone):
    fill(zone, until_free=LOW)
    assert alloc_pages(zone, 0, MOVABLE) >= 0
    assert zone.counts[ZoneCount.KSWAPD_WOKEN]
    assert not zone.events[VmEvent.ALLOCSTALL]


def test_at_the_min_watermark_the_allocation_reclaims_for_itself(zone):
    fill(zone, until_free=MIN, cache=64)
    assert alloc_pages(zone, 0, MOVABLE) >= 0
    assert zone.events[VmEvent.ALLOCSTALL] == 1
    assert zone.events[VmEvent.PGSTEAL_DIRECT] == 32
    assert zone.counts[ZoneCount.FILE] == 32
    check_zone(zone)


def test_with_nothing_to_reclaim_the_allocation_fails_and_nothing_changed(zone):
    fill(zone, until_free=MIN)
    assert alloc_pages(zone, 0, MOVABLE) == -1
    assert zone.counts[ZoneCount.FREE] == MIN


def test_a_page_is_reclaimed_for_as_long_as_that_brings_anything(zone):
    fill(zone, until_free=20, cache=640)
    assert alloc_pages(zone, 0, MOVABLE) >= 0
    assert zone.events[VmEvent.ALLOCSTALL] == 3


def test_after_seventeen_reclaims_even_a_page_is_given_up(zone):
    zone.counts[ZoneCount.WMARK_MIN] = zone.counts[ZoneCount.WMARK_LOW] = 1000
    fill(zone, until_free=20, cache=900)
    assert alloc_pages(zone, 0, MOVABLE) == -1
    assert zone.events[VmEvent.ALLOCSTALL] == 17


def test_without_retry_a_page_is_given_up_after_one_reclaim(zone):
    fill(zone, until_free=20, cache=640)
    assert alloc_pages_noretry(zone, 0, MOVABLE) == -1
    assert zone.events[VmEvent.ALLOCSTALL] == 1


def test_without_retry_a_page_that_one_reclaim_brings_is_had(zone):
    fill(zone, until_free=MIN, cache=64)
    assert alloc_pages_noretry(zone, 0, MOVABLE) >= 0


def test_a_block_is_reclaimed_for_once(zone):
    fill(zone, until_free=MIN, cache=640)
    assert alloc_pages(zone, 9, MOVABLE) == -1
    assert zone.events[VmEvent.ALLOCSTALL] == 1


def test_memory_that_ran_out_is_told_to_who_fills_it(zone):
    zone.counts[ZoneCount.WMARK_MIN] = zone.counts[ZoneCount.WMARK_LOW] = FRAMES - 10
    assert add_kernel_pages(zone, 20) == 10
    check_zone(zone)
