import os
from contextlib import closing

import numpy as np
import pytest
from support.fake_device import FIRST_FREE_PFN, FakeDevice, bench, spare_frames

from guest_driver.guest import Guest, PageCounts
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import MappingId, ZoneCount
from vballoond.memory.punch import punch_hole

FRAME = 4096
SPARE = 1000 - FIRST_FREE_PFN - 57
"""What programs can use of a guest of 1000 frames: its low watermark is left."""


@pytest.fixture
def guest():
    with closing(Guest(1000 * FRAME, "test")) as made:
        yield made


def resident_frames(guest: Guest) -> int:
    return os.fstat(guest.ram.fd).st_blocks * 512 // FRAME


def touched_frames(guest: Guest) -> set[int]:
    """Say which frames the host has, by taking each of them from the guest."""
    found = set()
    for pfn in range(guest.total_frames):
        before = resident_frames(guest)
        punch_hole(guest.ram.fd, pfn * FRAME, FRAME)
        if resident_frames(guest) < before:
            found.add(pfn)
    return found


def alloc(guest: Guest, count: int) -> list[int]:
    return [guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE) for _ in range(count)]


def test_a_guest_has_whole_frames(guest):
    assert guest.ram.size_bytes == guest.total_frames * FRAME == 1000 * FRAME
    with closing(Guest(1000 * FRAME + 4095)) as odd:
        assert odd.ram.size_bytes == 1000 * FRAME


def test_a_guest_that_was_booted_has_touched_its_kernels_frames_only(guest):
    assert touched_frames(guest) == set(range(FIRST_FREE_PFN))
    assert guest.counts == PageCounts(total=1000, free=1000 - FIRST_FREE_PFN, cached=0)
    assert guest.mm.counts[ZoneCount.MANAGED] == 1000 - FIRST_FREE_PFN
    assert guest.balloon is None


@pytest.mark.parametrize("pfn", [0, FIRST_FREE_PFN - 1])
def test_the_kernels_frames_are_reserved(guest, pfn):
    assert guest.mm.flags[pfn] == PageFlag.RESERVED


def test_the_kernel_of_a_large_guest_takes_a_fiftieth():
    with closing(Guest(10_000 * FRAME)) as large:
        assert large.counts.free == 9800
        assert resident_frames(large) == 200


def test_a_guest_is_booted_with_watermarks(guest):
    assert guest.mm.counts[ZoneCount.WMARK_MIN] == (1000 - FIRST_FREE_PFN) // 20
    assert len(alloc(guest, spare_frames(1000))) == spare_frames(1000)
    assert guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE) is None


@pytest.mark.parametrize("frames", [1000, 16384])
def test_compiling_changes_nothing(frames):
    with closing(Guest(frames * FRAME)) as made:
        before = [array.copy() for array in made.zone]
        made.compile()
        for name, was, now in zip(made.zone._fields, before, made.zone, strict=True):
            assert np.array_equal(was, now), name
        assert resident_frames(made) == max(64, frames // 50)


@pytest.mark.parametrize("pageblock_order", [9, 10])
def test_a_guest_groups_its_pages_as_it_was_built(pageblock_order):
    with closing(Guest(4096 * FRAME, pageblock_order=pageblock_order)) as made:
        assert len(made.zone.block_type) == 4096 >> pageblock_order


def test_programs_keep_some_memory_and_free_the_rest_which_the_host_still_has(guest):
    guest.use_memory(kept_frames=100, passing_frames=50)
    assert guest.counts == PageCounts(total=1000, free=1000 - FIRST_FREE_PFN - 100, cached=100)
    assert len(touched_frames(guest)) == FIRST_FREE_PFN + 150


def test_what_programs_keep_is_page_cache(guest):
    guest.use_memory(kept_frames=100, passing_frames=50)
    pages = guest.mm.list_pages(guest.mm.mapping_list(MappingId.FILE))
    assert len(set(pages)) == 100
    assert all(guest.mm.flags[page] == PageFlag.LRU and guest.mm.mapping[page] == MappingId.FILE for page in pages)


def test_what_was_touched_and_freed_is_handed_out_before_what_never_was():
    with closing(Guest(16384 * FRAME)) as large:
        large.use_memory(kept_frames=4096, passing_frames=4096)
        before = resident_frames(large)
        for page in alloc(large, 4096):
            punch_hole(large.ram.fd, page * FRAME, FRAME)
        assert resident_frames(large) == before - 4096


def test_programs_can_use_no_more_than_there_is_above_the_low_watermark(guest):
    guest.use_memory(kept_frames=5000, passing_frames=10)
    assert guest.counts == PageCounts(total=1000, free=57, cached=SPARE)
    assert resident_frames(guest) == 1000 - 57
    guest.use_memory(kept_frames=1, passing_frames=1)
    assert guest.counts.cached == SPARE


def test_programs_that_pass_by_can_use_no_more_either(guest):
    guest.use_memory(kept_frames=0, passing_frames=5000)
    assert guest.counts == PageCounts(total=1000, free=1000 - FIRST_FREE_PFN, cached=0)
    assert resident_frames(guest) == 1000 - 57


def test_using_no_memory_touches_none(guest):
    guest.use_memory(0, 0)
    assert resident_frames(guest) == FIRST_FREE_PFN


def test_programs_touch_the_frames_that_they_get_and_no_others(guest):
    low, _, high = alloc(guest, 3)
    for page in (low, high):
        guest.mm.put_page(page)
    guest.use_memory(kept_frames=2, passing_frames=0)
    assert touched_frames(guest) == {*range(FIRST_FREE_PFN), low, high}


def test_more_pages_than_are_noted_at_a_time_are_touched_all_the_same():
    frames = 100_000
    with closing(Guest(frames * FRAME)) as large:
        large.use_memory(kept_frames=70_000, passing_frames=1000)
        assert large.counts.cached == 70_000
        assert resident_frames(large) == 70_000 + 1000 + frames // 50
        assert large.mm.counts[ZoneCount.USED_WANTED] == large.mm.counts[ZoneCount.USED] == 0


def test_using_all_memory_after_a_balloon_does_not_make_it_grow():
    with bench(1000) as made:
        made.resize(300)
        made.resize(0)
        made.guest.use_memory(kept_frames=1000, passing_frames=0)
        assert os.fstat(made.guest.ram.fd).st_size == 1000 * FRAME
        assert len(touched_frames(made.guest)) == 1000 - 57


def test_a_driver_that_was_removed_can_be_loaded_again():
    with bench(1000) as made:
        made.resize(300)
        made.guest.kernel.spawn(made.driver.remove())
        made.settle()
        made.device.log.clear()
        made.device.set_target(20)
        again = made.guest.load_driver(made.device)
        made.settle()

        assert made.guest.balloon is again
        assert again.num_pages == 20
        assert made.device.seen("actual") == [20]
        assert made.guest.counts.free == 1000 - FIRST_FREE_PFN - 20
        assert made.guest.vmstat()["balloon_inflate"] == 320


@pytest.mark.parametrize(
    ("options", "counters"),
    [
        ({"interface": "2012"}, {"compact_balloon_isolated", "compact_balloon_migrated", "compact_balloon_returned"}),
        ({"interface": "2012", "balloon_compaction": False}, set()),
        ({"interface": "2026"}, {"balloon_inflate", "balloon_deflate", "balloon_migrate"}),
        ({"balloon_compaction": False}, {"balloon_inflate", "balloon_deflate"}),
    ],
)
def test_its_counters_are_those_of_its_interface(options, counters):
    with closing(Guest(1000 * FRAME, **options)) as made:
        assert {line for line in made.vmstat() if "balloon" in line} == counters


def test_powering_off_gives_all_memory_back():
    guest = Guest(1000 * FRAME)
    device = FakeDevice(guest)
    guest.load_driver(device)
    fd = guest.ram.fd
    device.close()
    guest.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
