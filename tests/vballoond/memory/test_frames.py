from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.memory.frames import FrameRange, FrameSpace, PfnArray, coalesce, merge, sorted_unique

LAST_PFN = 0xFFFFFFFF
END = LAST_PFN + 1


def array(*pfns: int) -> PfnArray:
    return np.array(pfns, dtype=np.uint32)


def frames_of(ranges) -> list[int]:
    return [pfn for piece in ranges for pfn in range(piece.first, piece.end)]


_PFN = st.integers(0, 12) | st.integers(LAST_PFN - 12, LAST_PFN) | st.integers(0, LAST_PFN)
_PFNS = st.lists(_PFN, max_size=40)


@st.composite
def spaces(draw: st.DrawFn) -> FrameSpace:
    """A few spans with and without holes between them, at the bottom of what a PFN can name or up to its end."""
    shape = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 6)), max_size=4))
    total = sum(gap + count for gap, count in shape)
    at = draw(st.sampled_from([0, END - total]) | st.integers(0, END - total))
    spans = []
    for gap, count in shape:
        spans.append(FrameRange(at + gap, count))
        at += gap + count
    return FrameSpace(tuple(spans))


@st.composite
def spaces_and_pfns(draw: st.DrawFn) -> tuple[FrameSpace, list[int]]:
    space = draw(spaces())
    near = st.integers(max(0, space.first - 5), min(LAST_PFN, space.end + 5))
    return space, draw(st.lists(near | _PFN, max_size=40))


@examples(200)
@given(_PFNS)
def test_sorted_unique_has_each_pfn_once_in_order(pfns):
    assert sorted_unique(array(*pfns)).tolist() == sorted(set(pfns))


def test_sorted_unique_leaves_what_it_was_given_as_it_was():
    pfns = array(3, 1, 3)
    sorted_unique(pfns)
    assert pfns.tolist() == [3, 1, 3]


@examples(200)
@given(st.sets(_PFN, max_size=40))
def test_coalesced_ranges_have_the_same_frames_and_do_not_touch(pfns):
    ranges = coalesce(array(*sorted(pfns)))
    assert frames_of(ranges) == sorted(pfns)
    assert all(before.end < after.first for before, after in pairwise(ranges))


def test_the_first_and_the_last_pfn_coalesce_as_any_other():
    assert coalesce(array(0, 1, LAST_PFN - 1, LAST_PFN)) == (FrameRange(0, 2), FrameRange(LAST_PFN - 1, 2))
    assert coalesce(array(0, LAST_PFN)) == (FrameRange(0, 1), FrameRange(LAST_PFN, 1))
    assert coalesce(array()) == ()


def test_ranges_come_as_plain_integers():
    (piece,) = coalesce(array(LAST_PFN))
    assert (type(piece.first), type(piece.count)) == (int, int)
    assert piece.end == END


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=8))
def test_merged_ranges_have_the_same_frames_and_do_not_touch(shape):
    pieces, at = [], 0
    for gap, count in shape:
        pieces.append(FrameRange(at + gap, count))
        at += gap + count
    merged = merge(pieces)
    assert frames_of(merged) == frames_of(pieces)
    assert all(before.end < after.first for before, after in pairwise(merged))


@examples(200)
@given(spaces_and_pfns())
def test_inside_keeps_the_frames_of_the_space_in_their_order(case):
    space, pfns = case
    there = set(frames_of(space.spans))
    assert space.inside(array(*pfns)).tolist() == [pfn for pfn in pfns if pfn in there]


@examples(200)
@given(spaces())
def test_frames_are_numbered_over_the_spans_without_the_holes(space):
    frames = frames_of(space.spans)
    assert space.frames == len(frames)
    assert space.index_of(array(*frames)).tolist() == list(range(len(frames)))
    assert space.index_of(array(*reversed(frames))).tolist() == list(reversed(range(len(frames))))


@examples(200)
@given(spaces(), st.data())
def test_pieces_of_a_window_are_its_frames_with_their_indices(space, data):
    first = data.draw(st.integers(max(0, space.first - 4), space.end + 4))
    window = FrameRange(first, data.draw(st.integers(0, 30)))
    frames = frames_of(space.spans)
    pieces = list(space.pieces(window))

    assert frames_of(piece for piece, _ in pieces) == [pfn for pfn in frames if window.first <= pfn < window.end]
    assert [index for _, index in pieces] == [frames.index(piece.first) for piece, _ in pieces]


@given(spaces())
def test_a_space_knows_its_ends(space):
    frames = frames_of(space.spans)
    assert space.first == (frames[0] if frames else 0)
    assert space.end == (frames[-1] + 1 if frames else 0)


def test_no_memory_has_no_frames():
    space = FrameSpace()
    assert space.inside(array(0, LAST_PFN)).tolist() == []
    assert list(space.pieces(FrameRange(0, END))) == []
    assert space.index_of(array()).tolist() == []


@pytest.mark.parametrize(
    "spans",
    [(FrameRange(0, 2), FrameRange(1, 2)), (FrameRange(4, 2), FrameRange(0, 2)), (FrameRange(0, 1), FrameRange(0, 1))],
    ids=["overlapping", "out of order", "twice"],
)
def test_spans_that_are_not_ascending_and_disjoint_are_refused(spans):
    with pytest.raises(ValueError, match="overlap or are out of order"):
        FrameSpace(spans)


def test_spans_that_touch_are_accepted():
    space = FrameSpace((FrameRange(0, 2), FrameRange(2, 2)))
    assert space.index_of(array(1, 2)).tolist() == [1, 2]


def test_memory_up_to_the_last_pfn_has_all_of_its_frames():
    everything = FrameSpace((FrameRange(0, END),))
    assert everything.inside(array(0, 1, LAST_PFN)).tolist() == [0, 1, LAST_PFN]
    assert everything.index_of(array(0, LAST_PFN)).tolist() == [0, LAST_PFN]
