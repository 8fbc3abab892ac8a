import fcntl
import os
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_files import FRAME, Place, fill, guest_memory, mapped_region, memory_file, region_place
from support.properties import examples

from vballoond.errors import FrontEndError, GuestError
from vballoond.memory.frames import FrameRange
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MAX_GUEST_ADDRESS, MappedRegion

SEAL_FUTURE_WRITE = 0x10

# A PC: low memory, a hole, and the rest above it; the two lower regions touch, but lie apart in the file and for the
# front-end.
LOW = Place(0, 4 * FRAME, file_offset=8 * FRAME, user_address=0x7F0000000000)
MIDDLE = Place(4 * FRAME, 4 * FRAME, file_offset=0, user_address=0x7F0000100000)
HIGH = Place(16 * FRAME, 4 * FRAME, file_offset=4 * FRAME, user_address=0x7F0000200000)
PLACES = (LOW, MIDDLE, HIGH)
FILE_BYTES = 12 * FRAME


def _write_pattern(memory: GuestMemory) -> dict[int, int]:
    """Fill all of the guest's memory; return what byte stands at which guest address."""
    pattern = {}
    for region in memory.regions:
        with region.view(0, region.place.size_bytes) as view:
            for offset in range(len(view)):
                address = region.place.guest_address + offset
                pattern[address] = view[offset] = (address * 7 + address // 256) % 251
    return pattern


def test_regions_may_come_in_any_order():
    with guest_memory(HIGH, LOW, MIDDLE) as memory:
        assert [region.place.guest_address for region in memory.regions] == [0, 4 * FRAME, 16 * FRAME]


def test_the_size_is_the_sum_of_the_regions():
    with guest_memory(*PLACES) as memory:
        assert memory.size_bytes == 12 * FRAME


def test_frames_are_those_of_all_regions_with_holes_left_out():
    with guest_memory(*PLACES) as memory:
        assert memory.frame_space.spans == (FrameRange(0, 8), FrameRange(16, 4))


def test_no_regions_are_no_memory():
    memory = GuestMemory()
    assert memory.size_bytes == memory.resident_bytes() == memory.frame_space.frames == 0
    with pytest.raises(GuestError):
        memory.read(0, 1)


def test_regions_that_overlap_for_the_guest_are_refused():
    with (
        pytest.raises(FrontEndError, match="0x0 and 0x3000 overlap"),
        guest_memory((0, 4 * FRAME), (3 * FRAME, FRAME, 8 * FRAME)),
    ):
        pass


def test_regions_may_share_pages_of_the_file():
    with guest_memory((0, FRAME), (FRAME, FRAME)) as memory:
        with memory.regions[0].view(0, 4) as view:
            view[:] = b"same"
        assert memory.read(FRAME, 4) == b"same"


@pytest.fixture(scope="module")
def patterned():
    with guest_memory(*PLACES) as memory:
        yield memory, _write_pattern(memory)


_ADDRESS = st.integers(0, 21 * FRAME) | st.sampled_from([4 * FRAME, 8 * FRAME, 16 * FRAME, 20 * FRAME]).flatmap(
    lambda edge: st.integers(edge - 8, edge + 8)
)


@examples(300)
@given(address=_ADDRESS, length=st.integers(0, 16) | st.integers(0, 9 * FRAME))
def test_reading_gives_the_guests_bytes_or_says_that_some_are_not_there(patterned, address, length):
    memory, pattern = patterned
    wanted = [pattern.get(at) for at in range(address, address + length)]
    if None in wanted:
        with pytest.raises(GuestError, match=f"{length} bytes at guest address {address:#x} are not in guest memory"):
            memory.read(address, length)
    else:
        assert memory.read(address, length) == bytes(wanted)


def test_a_buffer_crosses_from_one_region_into_the_next(patterned):
    memory, pattern = patterned
    assert memory.read(4 * FRAME - 3, 7) == bytes(pattern[4 * FRAME - 3 + n] for n in range(7))


@pytest.mark.parametrize(
    ("address", "length"),
    [((1 << 64) - 1, 2), ((1 << 64) - 1, 1), ((1 << 64) - FRAME, 1 << 32), (0, 1 << 32), (20 * FRAME, 1)],
)
def test_addresses_at_the_end_of_everything_are_not_in_memory(patterned, address, length):
    memory, _ = patterned
    with pytest.raises(GuestError):
        memory.read(address, length)


def test_memory_at_the_top_of_what_there_can_be_is_read_up_to_its_last_byte():
    top = MAX_GUEST_ADDRESS - FRAME
    with guest_memory((top, FRAME), (0, FRAME, FRAME)) as memory:
        assert memory.read(top + FRAME - 4, 4) == bytes(4)
        with pytest.raises(GuestError):
            memory.read(top + FRAME - 4, 8)


def test_what_was_read_does_not_change_with_the_guests_memory():
    with guest_memory((0, FRAME)) as memory:
        copy = memory.read(0, 4)
        with memory.regions[0].view(0, 4) as view:
            view[:] = b"late"
        assert copy == bytes(4)


def test_a_user_view_is_of_the_region_that_the_front_end_has_there():
    with guest_memory(*PLACES) as memory, memory.user_view(MIDDLE.user_address + 8, 4) as view:
        view[:] = b"ring"
        assert memory.read(MIDDLE.guest_address + 8, 4) == b"ring"


@pytest.mark.parametrize(
    ("address", "length"),
    [
        (LOW.user_address - 1, 2),
        (LOW.user_address + LOW.size_bytes - 1, 2),
        (LOW.user_address + LOW.size_bytes, 1),
        (LOW.user_address, LOW.size_bytes + 1),
        (0, 1),
        ((1 << 64) - 1, 1),
    ],
)
def test_a_user_view_that_leaves_its_region_is_refused(address, length):
    with guest_memory(*PLACES) as memory, pytest.raises(FrontEndError, match=f"user address {address:#x}"):
        memory.user_view(address, length)


def test_a_user_view_does_not_cross_regions_even_where_they_touch():
    touching = (Place(0, FRAME, 0, 0x10000), Place(FRAME, FRAME, FRAME, 0x11000))
    with guest_memory(*touching) as memory:
        memory.user_view(0x10000, FRAME).release()
        memory.user_view(0x11000, FRAME).release()
        with pytest.raises(FrontEndError):
            memory.user_view(0x10FFC, 8)


def _touched(memory: GuestMemory) -> set[int]:
    """Say which frames hold something else than zeros."""
    space = memory.frame_space
    frames = (pfn for span in space.spans for pfn in range(span.first, span.end))
    return {pfn for pfn in frames if any(memory.read(pfn * FRAME, FRAME))}


def _fill_all(memory: GuestMemory) -> None:
    fill(memory.regions[0].fd, 0, FILE_BYTES // FRAME)


def test_released_frames_are_gone_and_all_others_stay():
    with guest_memory(*PLACES) as memory:
        _fill_all(memory)
        released = memory.release((FrameRange(1, 2), FrameRange(17, 1)))

        assert released.freed_bytes == 3 * FRAME
        assert released.error is None
        assert memory.resident_bytes() == 9 * FRAME
        assert _touched(memory) == {0, 3, 4, 5, 6, 7, 16, 18, 19}


def test_a_range_over_regions_and_holes_releases_what_there_is_of_it():
    with guest_memory(*PLACES) as memory:
        _fill_all(memory)
        released = memory.release((FrameRange(3, 14),))
        assert released.freed_bytes == 6 * FRAME
        assert _touched(memory) == {0, 1, 2, 17, 18, 19}


@pytest.mark.parametrize("outside", [FrameRange(8, 8), FrameRange(20, 1 << 32), FrameRange(0xFFFFFFFF, 1)])
def test_frames_outside_the_memory_are_left_alone(outside):
    with guest_memory(*PLACES) as memory:
        _fill_all(memory)
        assert memory.release((outside,)).freed_bytes == 0
        assert memory.resident_bytes() == FILE_BYTES


def test_releasing_what_was_never_touched_frees_nothing():
    with guest_memory(*PLACES) as memory:
        released = memory.release((FrameRange(0, 8),))
        assert (released.freed_bytes, released.error) == (0, None)


def test_an_error_is_returned_and_the_rest_released_all_the_same():
    with (
        memory_file(2 * FRAME, may_be_sealed=True) as sealed,
        memory_file(2 * FRAME) as plain,
        closing(MappedRegion(region_place(Place(0, 2 * FRAME)), sealed)) as first,
        mapped_region(plain, Place(2 * FRAME, 2 * FRAME)) as second,
    ):
        fill(sealed, 0, 2)
        fill(plain, 0, 2)
        fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, SEAL_FUTURE_WRITE)
        released = GuestMemory([first, second]).release((FrameRange(0, 1), FrameRange(1, 2)))

        assert isinstance(released.error, PermissionError)
        assert released.freed_bytes == FRAME
        assert os.pread(plain, 2 * FRAME, 0) == bytes(FRAME) + b"x" * FRAME


def test_residency_counts_a_file_once_however_many_regions_it_has():
    with guest_memory(*PLACES) as memory:
        assert memory.resident_bytes() == 0
        _fill_all(memory)
        assert memory.resident_bytes() == FILE_BYTES
