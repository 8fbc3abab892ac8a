from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.balloon.counters import Counters
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.inflate import MAX_REQUEST_BYTES, deflate, inflate
from vballoond.memory.frames import FrameRange, FrameSpace

LAST_PFN = 0xFFFFFFFF
# The first frame that a number can name and the last one, with a hole between.
SPACE = FrameSpace((FrameRange(0, 8), FrameRange(16, 8), FrameRange(LAST_PFN - 3, 4)))
THERE = {*range(8), *range(16, 24), *range(LAST_PFN - 3, LAST_PFN + 1)}
ALL = FrameRange(0, LAST_PFN + 1)

_PFN = st.integers(0, 26) | st.integers(LAST_PFN - 5, LAST_PFN) | st.integers(0, LAST_PFN)
_REQUEST = st.tuples(st.lists(_PFN, max_size=30), st.binary(max_size=3))


def pfns(*frames: int) -> bytes:
    return np.array(frames, dtype="<u4").tobytes()


def frames_of(ranges: Iterable[FrameRange]) -> list[int]:
    return [pfn for piece in ranges for pfn in range(piece.first, piece.end)]


def test_frames_are_held_and_given_back_as_the_fewest_ranges():
    frame_map, counters = FrameMap(SPACE), Counters()
    assert inflate(frame_map, pfns(4, 2, 3, 7), counters) == (FrameRange(2, 3), FrameRange(7, 1))
    assert frame_map.held_frames == 4
    assert counters == Counters(inflate_requests=1, inflated_frames=4)


def test_the_first_and_the_last_frame_that_there_can_be_are_held():
    frame_map = FrameMap(SPACE)
    assert inflate(frame_map, pfns(0, LAST_PFN), Counters()) == (FrameRange(0, 1), FrameRange(LAST_PFN, 1))
    deflate(frame_map, pfns(LAST_PFN), Counters())
    assert frame_map.ranges(ALL) == (FrameRange(0, 1),)


def test_bytes_behind_the_last_whole_number_are_ignored_and_counted():
    frame_map, counters = FrameMap(SPACE), Counters()
    assert inflate(frame_map, pfns(1) + b"\x02\0\0", counters) == (FrameRange(1, 1),)
    deflate(frame_map, b"\x01", counters)
    assert frame_map.held_frames == 1
    assert counters.odd_bytes == 4
    assert counters.deflate_requests == 1


def test_frames_that_are_not_the_guests_are_ignored_and_counted():
    frame_map, counters = FrameMap(SPACE), Counters()
    assert inflate(frame_map, pfns(8, 15, 3, 24, LAST_PFN - 4), counters) == (FrameRange(3, 1),)
    deflate(frame_map, pfns(9, 3), counters)
    assert counters.foreign_frames == 5
    assert counters.repeated_frames == 0
    assert frame_map.held_frames == 0


def test_repeats_are_counted_in_a_request_and_over_requests():
    frame_map, counters = FrameMap(SPACE), Counters()
    inflate(frame_map, pfns(1, 1, 1, 2), counters)
    assert counters.repeated_frames == 2
    assert inflate(frame_map, pfns(2, 3), counters) == (FrameRange(2, 2),)
    assert counters.repeated_frames == 3
    deflate(frame_map, pfns(1, 5), counters)
    assert counters.repeated_frames == 4
    assert (counters.inflated_frames, counters.deflated_frames) == (3, 1)


@examples(200)
@given(st.lists(st.tuples(st.booleans(), _REQUEST), max_size=8))
def test_any_requests_hold_what_a_set_would(requests):
    frame_map, counters, held = FrameMap(SPACE), Counters(), set()
    expected = Counters()
    for inflating, (listed, tail) in requests:
        data, known = pfns(*listed) + tail, set(listed) & THERE
        expected.odd_bytes += len(tail)
        expected.foreign_frames += len(set(listed) - THERE)
        expected.repeated_frames += len(listed) - len(set(listed))
        if inflating:
            expected.inflate_requests += 1
            expected.inflated_frames += len(known - held)
            expected.repeated_frames += len(known & held)
            assert frames_of(inflate(frame_map, data, counters)) == sorted(known)
            held |= known
        else:
            expected.deflate_requests += 1
            expected.deflated_frames += len(known & held)
            expected.repeated_frames += len(known - held)
            deflate(frame_map, data, counters)
            held -= known
        assert frame_map.held_frames == len(held)
        assert frames_of(frame_map.ranges(ALL)) == sorted(held)
    assert counters == expected


def test_the_largest_request_of_every_known_driver_is_within_the_bound():
    assert MAX_REQUEST_BYTES >= 4 * 1024
    space = FrameSpace((FrameRange(0, MAX_REQUEST_BYTES // 4),))
    data = np.arange(MAX_REQUEST_BYTES // 4, dtype="<u4").tobytes()
    assert inflate(FrameMap(space), data, Counters()) == space.spans
