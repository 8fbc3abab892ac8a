import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vballoond.balloon.counters import Counters
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.inflate import deflate, inflate
from vballoond.balloon.reporting import reported_ranges
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.virtqueue.chain import Buffer

SIZE = 8
SPANS = (FrameRange(0, 20), FrameRange(24, 24))
SPACE = FrameSpace(SPANS, SIZE)
FRAMES = sorted({pfn for span in SPANS for pfn in range(span.first, span.end)})
# Frames 16 to 23 are a page of the host's with a hole in it.
WHOLE_PAGES = [0, 8, 24, 32, 40]


def pfns(frames) -> bytes:
    return np.array(list(frames), dtype="<u4").tobytes()


def test_a_page_is_given_back_when_its_last_frame_comes() -> None:
    frame_map = FrameMap(SPACE)
    assert inflate(frame_map, pfns(range(7)), Counters()) == ()
    assert inflate(frame_map, pfns([9]), Counters()) == ()
    assert inflate(frame_map, pfns([7]), Counters()) == (FrameRange(0, 8),)


def test_pages_side_by_side_are_one_range() -> None:
    frame_map = FrameMap(SPACE)
    assert inflate(frame_map, pfns(FRAMES), Counters()) == (FrameRange(0, 16), FrameRange(24, 24))


def test_a_page_with_a_hole_in_it_is_never_given_back() -> None:
    frame_map = FrameMap(SPACE)
    assert inflate(frame_map, pfns([16, 17, 18, 19]), Counters()) == ()


def test_a_page_that_was_taken_back_in_part_must_be_whole_again() -> None:
    frame_map = FrameMap(SPACE)
    inflate(frame_map, pfns(range(8)), Counters())
    deflate(frame_map, pfns([3]), Counters())
    assert inflate(frame_map, pfns([5, 8]), Counters()) == ()
    assert inflate(frame_map, pfns([3]), Counters()) == (FrameRange(0, 8),)


def test_a_frame_named_again_has_its_whole_page_given_back_again() -> None:
    frame_map = FrameMap(SPACE)
    inflate(frame_map, pfns(range(8)), Counters())
    assert inflate(frame_map, pfns([2]), Counters()) == (FrameRange(0, 8),)


def test_counts_follow_into_another_memory() -> None:
    frame_map = FrameMap(SPACE)
    inflate(frame_map, pfns(range(7)), Counters())
    larger = frame_map.in_space(FrameSpace((*SPANS, FrameRange(64, 8)), SIZE))
    assert inflate(larger, pfns([7]), Counters()) == (FrameRange(0, 8),)


REQUESTS = st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(FRAMES), min_size=1)), max_size=20)


@given(REQUESTS)
def test_exactly_the_pages_that_are_held_whole_are_given_back(requests) -> None:
    frame_map, held = FrameMap(SPACE), set()
    for inflates, frames in requests:
        if inflates:
            held |= frames
            ranges = inflate(frame_map, pfns(frames), Counters())
            released = {pfn for part in ranges for pfn in range(part.first, part.end)}
            touched = {page for page in WHOLE_PAGES if frames & set(range(page, page + SIZE))}
            expected = {page for page in touched if held >= set(range(page, page + SIZE))}
            assert released == {pfn for page in expected for pfn in range(page, page + SIZE)}
        else:
            held -= frames
            deflate(frame_map, pfns(frames), Counters())


def test_reported_memory_is_given_back_in_whole_pages() -> None:
    counters = Counters()
    buffers = (Buffer(3 * 4096, 20 * 4096), Buffer(24 * 4096, 8 * 4096), Buffer(33 * 4096, 6 * 4096))
    assert reported_ranges(SPACE, buffers, counters) == (FrameRange(8, 8), FrameRange(24, 8))
