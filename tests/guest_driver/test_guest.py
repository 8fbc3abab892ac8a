import os
from contextlib import closing

import pytest
from support.fake_device import FIRST_FREE_PFN, FakeDevice, bench

from guest_driver.guest import Guest
from guest_driver.pages import PageCounts
from vballoond.memory.punch import punch_hole

FRAME = 4096


@pytest.fixture
def guest():
    with closing(Guest(1000 * FRAME, "test")) as made:
        yield made


def resident_frames(guest: Guest) -> int:
    return os.fstat(guest.ram.fd).st_blocks * 512 // FRAME


def touched_frames(guest: Guest) -> set[int]:
    """Say which frames the host has, by taking each of them from the guest."""
    found = set()
    for pfn in range(guest.pages.total_frames):
        before = resident_frames(guest)
        punch_hole(guest.ram.fd, pfn * FRAME, FRAME)
        if resident_frames(guest) < before:
            found.add(pfn)
    return found


def test_a_guest_has_whole_frames(guest):
    assert guest.ram.size_bytes == guest.pages.total_frames * FRAME == 1000 * FRAME
    with closing(Guest(1000 * FRAME + 4095)) as odd:
        assert odd.ram.size_bytes == 1000 * FRAME


def test_a_guest_that_was_booted_has_touched_its_kernels_frames_only(guest):
    assert touched_frames(guest) == set(range(FIRST_FREE_PFN))
    assert guest.pages.counts == PageCounts(total=1000, free=1000 - FIRST_FREE_PFN, cached=0)
    assert guest.balloon is None


def test_the_kernel_of_a_large_guest_takes_a_fiftieth():
    with closing(Guest(10_000 * FRAME)) as large:
        assert large.pages.counts.free == 9800
        assert resident_frames(large) == 200


def test_programs_keep_some_memory_and_free_the_rest_which_the_host_still_has(guest):
    guest.use_memory(kept_frames=100, passing_frames=50)
    assert guest.pages.counts == PageCounts(total=1000, free=1000 - FIRST_FREE_PFN - 100, cached=100)
    assert touched_frames(guest) == set(range(FIRST_FREE_PFN + 150))


def test_what_was_touched_and_freed_is_handed_out_before_what_never_was(guest):
    guest.use_memory(kept_frames=100, passing_frames=50)
    handed_out = [guest.pages.alloc_page() for _ in range(51)]
    assert handed_out == list(range(FIRST_FREE_PFN + 100, FIRST_FREE_PFN + 151))


def test_programs_can_use_no_more_than_there_is(guest):
    guest.use_memory(kept_frames=5000, passing_frames=10)
    assert guest.pages.counts == PageCounts(total=1000, free=0, cached=1000 - FIRST_FREE_PFN)
    assert resident_frames(guest) == 1000
    guest.use_memory(kept_frames=1, passing_frames=1)
    assert guest.pages.counts.cached == 1000 - FIRST_FREE_PFN


def test_using_no_memory_touches_none(guest):
    guest.use_memory(0, 0)
    assert resident_frames(guest) == FIRST_FREE_PFN


def test_programs_touch_the_frames_that_they_get_and_no_others(guest):
    low, high = guest.pages.alloc_page(), guest.pages.alloc_page()
    guest.pages.free_page(low)
    guest.pages.free_page(high)
    guest.use_memory(kept_frames=2, passing_frames=0)
    assert touched_frames(guest) == {*range(FIRST_FREE_PFN), low, high}


def test_using_all_memory_after_a_balloon_does_not_make_it_grow():
    with bench(1000) as made:
        made.resize(300)
        made.resize(0)
        made.guest.use_memory(kept_frames=1000, passing_frames=0)
        assert os.fstat(made.guest.ram.fd).st_size == 1000 * FRAME
        assert touched_frames(made.guest) == set(range(1000))


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
        assert made.guest.pages.counts.free == 1000 - FIRST_FREE_PFN - 20
        assert made.guest.vmstat.balloon_inflate == 320


def test_powering_off_gives_all_memory_back():
    guest = Guest(1000 * FRAME)
    device = FakeDevice(guest)
    guest.load_driver(device)
    fd = guest.ram.fd
    device.close()
    guest.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
