import numpy as np
import pytest
from support.mm import booted, check_zone, list_of

from guest_driver.mm.anon import fault_in, unmap
from guest_driver.mm.chance import chance, random_below
from guest_driver.mm.in_use import note_used, take_used
from guest_driver.mm.linked_list import mapping_list
from guest_driver.mm.page_cache import add_file_pages, add_kernel_pages, add_slab_pages, free_kernel_pages
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import MappingId, ZoneCount, bytes_of

PROCESS = int(MappingId.FIRST_REGISTERED)


@pytest.fixture
def zone():
    return booted(4096)


def test_each_kind_of_memory_comes_from_pageblocks_of_its_type(zone):
    add_file_pages(zone, 5)
    add_slab_pages(zone, 6)
    add_kernel_pages(zone, 7)
    fault_in(zone, PROCESS, 8)
    census = check_zone(zone)
    assert [len(kind) for kind in (census.lru, census.slab, census.plain)] == [13, 6, 7]
    types = {
        kind: {int(zone.block_type[pfn >> 9]) for pfn in getattr(census, kind)} for kind in ("lru", "slab", "plain")
    }
    assert types == {"lru": {Migratetype.MOVABLE}, "slab": {Migratetype.RECLAIMABLE}, "plain": {Migratetype.UNMOVABLE}}


def test_the_page_faulted_in_last_is_unmapped_first(zone):
    fault_in(zone, PROCESS, 10)
    pages = list_of(zone, int(mapping_list(zone, PROCESS)))
    assert unmap(zone, PROCESS, 4) == 4
    assert list_of(zone, int(mapping_list(zone, PROCESS))) == pages[4:]
    assert zone.events[VmEvent.PGFAULT] == 10


def test_a_process_can_unmap_what_it_has(zone):
    fault_in(zone, PROCESS, 3)
    assert unmap(zone, PROCESS, 9) == 3
    assert check_zone(zone).lru == set()


def test_processes_run_out_of_memory(zone):
    assert fault_in(zone, PROCESS, 5000) == 4096
    assert zone.counts[ZoneCount.ANON] == 4096
    assert add_file_pages(zone, 1) == add_slab_pages(zone, 1) == 0
    check_zone(zone)


def test_kernel_pages_are_freed_in_any_order_and_none_twice(zone):
    add_kernel_pages(zone, 100)
    assert free_kernel_pages(zone, 60) == 60
    assert len(check_zone(zone).plain) == 40
    assert free_kernel_pages(zone, 60) == 40
    assert check_zone(zone).plain == set()


def test_the_kernel_holds_no_more_than_there_is_room_to_note(zone):
    assert add_kernel_pages(zone, 1000) == len(zone.unmovable) == 256


def test_what_comes_into_use_is_noted_where_somebody_wants_to_know(zone):
    add_file_pages(zone, 1)
    zone.counts[ZoneCount.USED_WANTED] = 1
    add_file_pages(zone, 2)
    note_used(zone, 512, 9)
    used = take_used(zone).tolist()
    assert used == [1, 2, ~512]
    assert take_used(zone).size == 0


def test_what_no_room_is_left_for_is_found_by_its_marks(zone):
    zone.counts[ZoneCount.USED_WANTED] = 1
    add_file_pages(zone, 1000)
    assert len(zone.used) == 128
    used = take_used(zone)
    assert used.size == np.unique(used).size == 1000
    assert (zone.flags[used] == PageFlag.LRU).all()
    assert take_used(zone).size == 0


def test_a_marked_page_that_is_freed_is_forgotten(zone):
    zone.counts[ZoneCount.USED_WANTED] = 1
    add_file_pages(zone, 512)
    add_kernel_pages(zone, 10)
    free_kernel_pages(zone, 4)
    assert take_used(zone).size == 512 + 6


def test_chance_is_repeatable_and_another_for_each_seed():
    rows = [[random_below(zone, 1000) for _ in range(20)] for zone in (booted(64), booted(64), booted(64, seed=2))]
    assert rows[0] == rows[1] != rows[2]


def test_chance_keeps_to_its_probability(zone):
    assert 4_600 < sum(chance(zone, 0.5) for _ in range(10_000)) < 5_400
    assert not any(chance(zone, 0.0) for _ in range(100))
    assert all(chance(zone, 1.0) for _ in range(100))


def test_random_numbers_lie_below_their_end(zone):
    assert {random_below(zone, 5) for _ in range(200)} == set(range(5))


def test_a_frame_takes_less_than_fifteen_bytes(zone):
    assert 14 <= (bytes_of(booted(8192)) - bytes_of(zone)) / 4096 < 15
