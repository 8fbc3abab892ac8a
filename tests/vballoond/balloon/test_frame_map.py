from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.balloon import frame_map as module
from vballoond.balloon.frame_map import ABSENT, FrameMap
from vballoond.memory.frames import FrameRange, FrameSpace

END = 1 << 32
# Spans that touch, a hole, and the end of what a number can name.
SPACE = FrameSpace((FrameRange(3, 9), FrameRange(12, 4), FrameRange(20, 10), FrameRange(END - 6, 6)))
THERE = [pfn for span in SPACE.spans for pfn in range(span.first, span.end)]
ALL = FrameRange(0, END)

_WINDOW = st.builds(
    FrameRange,
    first=st.integers(0, 34) | st.integers(END - 12, END + 2),
    count=st.integers(0, 40),
)
_FRAMES = st.sets(st.sampled_from(THERE))


def array(frames: Iterable[int]) -> np.ndarray:
    return np.array(sorted(frames), dtype=np.uint32)


def holding(frames: Iterable[int], space: FrameSpace = SPACE) -> FrameMap:
    frame_map = FrameMap(space)
    frame_map.insert(array(frames))
    return frame_map


def frames_of(ranges: Iterable[FrameRange]) -> list[int]:
    return [pfn for piece in ranges for pfn in range(piece.first, piece.end)]


def state_of(pfn: int, held: set[int]) -> int:
    return ABSENT if pfn not in THERE else int(pfn in held)


@examples(200)
@given(st.lists(st.tuples(st.booleans(), _FRAMES), max_size=10))
def test_insert_and_remove_count_what_they_change(steps):
    frame_map, held = FrameMap(SPACE), set()
    for inserting, frames in steps:
        if inserting:
            assert frame_map.insert(array(frames)) == len(frames - held)
            held |= frames
        else:
            assert frame_map.remove(array(frames)) == len(frames & held)
            held -= frames
        assert frame_map.held_frames == len(held)
        assert frames_of(frame_map.ranges(ALL)) == sorted(held)


@examples(200)
@given(held=_FRAMES, window=_WINDOW)
def test_ranges_are_the_held_frames_of_the_window_and_do_not_touch(held, window):
    ranges = holding(held).ranges(window)
    assert frames_of(ranges) == sorted(pfn for pfn in held if window.first <= pfn < window.end)
    assert all(before.end < after.first for before, after in pairwise(ranges))


@examples(200)
@given(held=_FRAMES, window=_WINDOW)
def test_a_bitmap_has_a_bit_for_each_frame_of_the_window_lowest_first(held, window):
    bitmap = holding(held).bitmap(window)
    bits = [bitmap[at // 8] >> at % 8 & 1 for at in range(len(bitmap) * 8)]
    assert len(bitmap) == (window.count + 7) // 8
    assert bits[: window.count] == [int(pfn in held) for pfn in range(window.first, window.end)]
    assert not any(bits[window.count :])


@examples(200)
@given(held=_FRAMES, window=_WINDOW)
def test_a_picture_tells_held_frames_from_the_guests_and_from_holes(held, window):
    picture = holding(held).picture(window)
    assert list(picture) == [state_of(pfn, held) for pfn in range(window.first, window.end)]


@examples(200)
@given(held=_FRAMES, window=_WINDOW, piece_frames=st.integers(1, 12))
def test_ranges_are_the_same_however_small_the_pieces_are_in_which_a_window_is_looked_at(held, window, piece_frames):
    whole = holding(held)
    expected = whole.ranges(window), whole.picture(window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        frame_map = holding(held)
        assert (frame_map.ranges(window), frame_map.picture(window)) == expected
        assert all(part.count <= piece_frames for part in frame_map._ranges(window))


@examples(100)
@given(held=_FRAMES, piece_frames=st.integers(1, 12))
def test_a_cleared_map_holds_nothing_however_small_its_pieces_are(held, piece_frames):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        frame_map = holding(held)
        frame_map.clear()
        assert frame_map.held_frames == 0
        assert frame_map.ranges(ALL) == ()
        assert frame_map.insert(np.array([11, 12], dtype=np.uint32)) == 2
        assert frame_map.ranges(ALL) == (FrameRange(11, 2),)


def test_ranges_join_over_spans_that_touch():
    assert holding({11, 12}).ranges(ALL) == (FrameRange(11, 2),)


def test_ranges_do_not_join_over_a_hole():
    assert holding({15, 20}).ranges(ALL) == (FrameRange(15, 1), FrameRange(20, 1))


def test_a_bit_stands_where_the_contract_says():
    assert holding({20, 29}).bitmap(FrameRange(20, 10)) == b"\x01\x02"
    assert holding({20, 29}).bitmap(FrameRange(19, 11)) == b"\x02\x04"


def test_a_large_window_is_put_together_without_a_seam():
    seam = 1 << 20
    space = FrameSpace((FrameRange(1, seam + 16),))
    held = {1, seam - 1, seam, seam + 1, seam + 16}
    frame_map = holding(held, space)
    for first in (0, 1, 5):
        window = FrameRange(first, seam + 24)
        picture = np.frombuffer(frame_map.picture(window), dtype=np.uint8)
        bits = np.unpackbits(np.frombuffer(frame_map.bitmap(window), dtype=np.uint8), bitorder="little")
        expected = [pfn - first for pfn in sorted(held) if pfn >= first]
        assert [pfn - first for pfn in frames_of(frame_map.ranges(window))] == expected
        assert np.flatnonzero(picture == 1).tolist() == expected
        assert np.flatnonzero(bits).tolist() == expected
        assert np.flatnonzero(picture == ABSENT).tolist() == [
            pfn - first for pfn in (0, *range(seam + 17, first + seam + 24)) if pfn >= first
        ]


@st.composite
def _spaces(draw: st.DrawFn) -> FrameSpace:
    spans, at = [], 0
    for gap, count in draw(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 10)), max_size=4)):
        spans.append(FrameRange(at + gap, count))
        at += gap + count
    return FrameSpace(tuple(spans))


@examples(200)
@given(before=_spaces(), after=_spaces(), data=st.data())
def test_in_another_space_the_frames_that_both_have_are_held(before, after, data):
    there = frames_of(before.spans)
    held = data.draw(st.sets(st.sampled_from(there)) if there else st.just(set()))
    old = holding(held, before)
    new = old.in_space(after)
    kept = sorted(held & set(frames_of(after.spans)))

    assert frames_of(new.ranges(ALL)) == kept
    assert new.held_frames == len(kept)
    assert new.space == after
    assert frames_of(old.ranges(ALL)) == sorted(held)


def test_in_the_same_space_the_map_stays_as_it_is():
    old = holding({3})
    assert old.in_space(FrameSpace(SPACE.spans)).ranges(ALL) == (FrameRange(3, 1),)


def test_a_large_map_moves_without_a_seam():
    seam = 1 << 20
    held = {7, seam + 6, seam + 7, seam + 8, 2 * seam}
    old = holding(held, FrameSpace((FrameRange(7, 2 * seam), FrameRange(3 * seam, 4))))
    new = old.in_space(FrameSpace((FrameRange(6, 2), FrameRange(seam, 2 * seam))))
    assert frames_of(new.ranges(ALL)) == sorted(held)
    assert new.held_frames == 5


def test_a_map_in_another_space_goes_on_for_itself():
    old = holding({3})
    new = old.in_space(FrameSpace((FrameRange(0, 8),)))
    new.insert(array({4}))
    new.remove(array({3}))
    assert old.ranges(ALL) == (FrameRange(3, 1),)
    assert new.ranges(ALL) == (FrameRange(4, 1),)
    assert (old.held_frames, new.held_frames) == (1, 1)


def test_without_memory_there_is_nothing_to_hold_or_to_see():
    frame_map = FrameMap()
    assert frame_map.insert(array(())) == frame_map.remove(array(())) == 0
    assert frame_map.ranges(ALL) == ()
    assert frame_map.bitmap(FrameRange(0, 16)) == b"\0\0"
    assert frame_map.picture(FrameRange(0, 3)) == bytes([ABSENT] * 3)
    assert frame_map.in_space(SPACE).held_frames == 0


# Over what somebody else noted.


@examples(200)
@given(held=_FRAMES, piece_frames=st.integers(1, 12))
def test_a_map_goes_on_from_the_bytes_of_another(held, piece_frames):
    noted = np.zeros(SPACE.frames, dtype=np.uint8)
    FrameMap(SPACE, noted).insert(array(held))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        found = FrameMap(SPACE, noted)
        assert frames_of(found.ranges(ALL)) == sorted(held)
        assert found.held_frames == len(held)


@examples(200)
@given(held=_FRAMES, bad=st.sampled_from(THERE), value=st.integers(2, 255), piece_frames=st.integers(1, 12))
def test_a_byte_that_says_neither_is_refused_and_its_frame_named(held, bad, value, piece_frames):
    noted = np.zeros(SPACE.frames, dtype=np.uint8)
    FrameMap(SPACE, noted).insert(array(held))
    noted[SPACE.index_of(array([bad]))] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        with pytest.raises(ValueError, match=f"neither held nor not of frame {bad:#x}$"):
            FrameMap(SPACE, noted)


@pytest.mark.parametrize("frames", [0, SPACE.frames - 1, SPACE.frames + 1])
def test_bytes_of_another_length_are_refused(frames):
    with pytest.raises(ValueError, match=f"a map of {frames} frames, for a memory of {SPACE.frames}"):
        FrameMap(SPACE, np.zeros(frames, dtype=np.uint8))


def test_host_pages_are_counted_in_what_was_noted():
    space = FrameSpace((FrameRange(512, 1024), FrameRange(4096, 512)), 512)
    noted = np.zeros(space.frames, dtype=np.uint8)
    FrameMap(space, noted).insert(array([*range(512, 1023), *range(4096, 4607)]))
    found = FrameMap(space, noted)
    found.insert(array([1023, 1024]))
    assert found.to_release(array([1023, 1024])) == (FrameRange(512, 512),)
    found.insert(array([4607]))
    assert found.to_release(array([4607])) == (FrameRange(4096, 512),)


@examples()
@given(held=_FRAMES, piece_frames=st.integers(1, 12))
def test_a_map_that_is_cleared_holds_nothing_and_says_so_where_it_is_noted(held, piece_frames):
    noted = np.zeros(SPACE.frames, dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        frame_map = FrameMap(SPACE, noted)
        frame_map.insert(array(held))
        frame_map.clear()
        assert not noted.any()
        assert (frame_map.held_frames, frame_map.ranges(ALL)) == (0, ())
        assert frame_map.insert(array(held)) == len(held)


def test_host_pages_of_a_map_that_is_cleared_are_not_held():
    space = FrameSpace((FrameRange(0, 512),), 512)
    frame_map = FrameMap(space)
    frame_map.insert(array(range(511)))
    frame_map.clear()
    frame_map.insert(array([511]))
    assert frame_map.to_release(array([511])) == ()


@examples()
@given(before=_spaces(), after=_spaces(), data=st.data())
def test_what_moves_to_another_space_is_noted_there(before, after, data):
    there = frames_of(before.spans)
    held = data.draw(st.sets(st.sampled_from(there)) if there else st.just(set()))
    noted = np.zeros(after.frames, dtype=np.uint8)
    moved = holding(held, before).in_space(after, noted)
    kept = sorted(held & set(frames_of(after.spans)))
    assert frames_of(FrameMap(after, noted).ranges(ALL)) == frames_of(moved.ranges(ALL)) == kept


# Versions.


@examples()
@given(st.lists(st.tuples(st.booleans(), _FRAMES), max_size=6))
def test_the_version_grows_with_each_change_and_with_nothing_else(steps):
    frame_map, held = FrameMap(SPACE), set()
    for inserting, frames in steps:
        before, changes = frame_map.version, frames - held if inserting else frames & held
        (frame_map.insert if inserting else frame_map.remove)(array(frames))
        held = held | frames if inserting else held - frames
        assert (frame_map.version > before) == bool(changes)
        assert frame_map.born <= before


def test_a_map_begins_behind_what_it_goes_on_from():
    old = holding({3, 20})
    moved = old.in_space(FrameSpace((FrameRange(0, 40),)))
    assert old.version < moved.born == moved.version
    noted = np.zeros(SPACE.frames, dtype=np.uint8)
    FrameMap(SPACE, noted).insert(array({3, 20}))
    found = FrameMap(SPACE, noted)
    assert moved.version < found.born == found.version
    assert found.blocks.changed_since(found.born, 0, END).size == 0


def test_what_a_map_held_when_it_was_cleared_has_changed():
    frame_map = holding({3, 20, END - 1})
    before = frame_map.version
    frame_map.clear()
    assert frame_map.blocks.changed_since(before, 0, END).tolist() == [0, (END - 1) // 256]


@examples(200)
@given(held=_FRAMES, window=_WINDOW)
def test_bytes_of_a_window_say_what_is_held(held, window):
    found = holding(held).held_bytes(window)
    expected = [int(pfn in held) for pfn in range(window.first, window.end)]
    assert (found is None and not any(expected)) or (found is not None and found.tolist() == expected)
