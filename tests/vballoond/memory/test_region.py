import fcntl
import os

import pytest
from support.memory_files import FRAME, Place, mapped_region, memory_file, region_place

from vballoond.errors import FrontEndError
from vballoond.memory.frames import FrameRange
from vballoond.memory.region import MAX_GUEST_ADDRESS, MappedRegion, RegionPlace

TOP = 1 << 64
MIDDLE = {"guest_address": 16 * FRAME, "size_bytes": 4 * FRAME, "user_address": 64 * FRAME, "file_offset": 8 * FRAME}


def test_a_region_ends_behind_its_last_byte():
    assert RegionPlace(**MIDDLE).guest_end == 20 * FRAME


def test_the_frames_of_a_region_are_numbered_by_guest_address():
    assert RegionPlace(**MIDDLE).frames == FrameRange(16, 4)


def test_an_empty_region_is_refused():
    with pytest.raises(FrontEndError, match="empty"):
        RegionPlace(**MIDDLE | {"size_bytes": 0})


@pytest.mark.parametrize("name", MIDDLE)
@pytest.mark.parametrize("excess", [1, 0x800, FRAME - 1])
def test_a_region_that_is_not_whole_pages_is_refused(name, excess):
    with pytest.raises(FrontEndError, match=f"{name} .*not whole pages"):
        RegionPlace(**MIDDLE | {name: MIDDLE[name] + excess})


def test_a_region_may_reach_up_to_the_last_frame_that_a_balloon_can_name():
    place = RegionPlace(**MIDDLE | {"guest_address": MAX_GUEST_ADDRESS - 4 * FRAME})
    assert place.frames.end == 1 << 32


@pytest.mark.parametrize("guest_address", [MAX_GUEST_ADDRESS - 3 * FRAME, MAX_GUEST_ADDRESS, TOP - 4 * FRAME])
def test_a_region_with_frames_that_a_balloon_cannot_name_is_refused(guest_address):
    with pytest.raises(FrontEndError, match=f"above {MAX_GUEST_ADDRESS:#x}"):
        RegionPlace(**MIDDLE | {"guest_address": guest_address})


@pytest.mark.parametrize("name", ["user_address", "file_offset"])
def test_a_region_may_reach_up_to_the_end_of_an_address_space_but_not_over_it(name):
    RegionPlace(**MIDDLE | {name: TOP - 4 * FRAME})
    with pytest.raises(FrontEndError, match=name):
        RegionPlace(**MIDDLE | {name: TOP - 3 * FRAME})


@pytest.mark.parametrize("file_offset", [0, FRAME, 5 * FRAME])
def test_a_view_shares_the_bytes_of_the_file_at_the_offset_of_the_region(file_offset):
    with memory_file(16 * FRAME) as fd:
        os.pwrite(fd, b"front", file_offset)
        os.pwrite(fd, b"behind", file_offset + FRAME)
        with mapped_region(fd, Place(0x10000, 2 * FRAME, file_offset)) as region:
            with region.view(0, 5) as head, region.view(FRAME, 6) as tail:
                assert (bytes(head), bytes(tail)) == (b"front", b"behind")
                tail[:] = b"stored"
            assert os.pread(fd, 6, file_offset + FRAME) == b"stored"


def test_a_frame_is_found_in_the_file():
    with memory_file(8 * FRAME) as fd, mapped_region(fd, Place(0x100000, 2 * FRAME, file_offset=5 * FRAME)) as region:
        assert region.file_offset_of(0x100) == 5 * FRAME
        assert region.file_offset_of(0x101) == 6 * FRAME


def test_a_file_that_ends_before_its_region_is_refused():
    with memory_file(4 * FRAME) as fd:
        with mapped_region(fd, Place(0, 3 * FRAME, FRAME)):
            pass
        with pytest.raises(FrontEndError, match=f"has {4 * FRAME} bytes, its region ends at byte {5 * FRAME}"):
            MappedRegion(region_place(Place(0, 4 * FRAME, FRAME)), fd)


def test_what_is_no_memory_at_all_is_refused():
    reader, writer = os.pipe()
    try:
        with pytest.raises(FrontEndError, match="has 0 bytes"):
            MappedRegion(region_place(Place(0, FRAME)), reader)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_file_that_is_open_for_reading_only_is_refused():
    with memory_file(FRAME) as fd:
        read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        try:
            with pytest.raises(FrontEndError, match="cannot be mapped"):
                MappedRegion(region_place(Place(0, FRAME)), read_only)
        finally:
            os.close(read_only)


def test_a_file_that_is_sealed_against_writing_is_refused():
    with memory_file(FRAME, may_be_sealed=True) as fd:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        with pytest.raises(FrontEndError, match="cannot be mapped"):
            MappedRegion(region_place(Place(0, FRAME)), fd)


def test_a_region_stays_mapped_until_its_views_are_released():
    with memory_file(FRAME) as fd:
        region = MappedRegion(region_place(Place(0, FRAME)), fd)
        view = region.view(0, 4)
        with pytest.raises(BufferError):
            region.close()
        assert bytes(view) == bytes(4)
        view.release()
        region.close()


def test_closing_a_region_leaves_the_descriptor_to_its_owner():
    with memory_file(FRAME) as fd:
        with mapped_region(fd, Place(0, FRAME)):
            pass
        assert os.fstat(fd).st_size == FRAME
