import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocol.balloon.frame_states import FrameState
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.frame_pictures import bitmap, merged, picture, ranges
from vballoond.memory.frames import FrameRange, FrameSpace

SPACE = FrameSpace((FrameRange(4, 4), FrameRange(12, 4)))
WINDOW = FrameRange(0, 16)

states_of_16 = st.lists(
    st.sampled_from([s for s in FrameState if s is not FrameState.ABSENT]), min_size=16, max_size=16
)
held_pfns = st.sets(st.sampled_from([*range(4, 8), *range(12, 16)]))


def map_of(pfns: set[int]) -> FrameMap:
    frame_map = FrameMap(SPACE)
    frame_map.insert(np.array(sorted(pfns), dtype=np.uint32))
    return frame_map


@given(held_pfns)
def test_without_a_guest_that_speaks_the_rest_is_movable(held: set[int]) -> None:
    drawn = picture(map_of(held), None, WINDOW)
    for pfn in range(16):
        absent = pfn < 4 or 8 <= pfn < 12
        expected = FrameState.BALLOONED if pfn in held else FrameState.ABSENT if absent else FrameState.MOVABLE
        assert drawn[pfn] == expected


@given(held_pfns, states_of_16)
def test_the_map_decides_what_is_ballooned_and_the_guest_the_rest(held: set[int], said: list[FrameState]) -> None:
    drawn = picture(map_of(held), lambda window: bytes(said[window.first : window.end]), WINDOW)
    for pfn in range(16):
        if pfn < 4 or 8 <= pfn < 12:
            assert drawn[pfn] == FrameState.ABSENT
        elif pfn in held:
            assert drawn[pfn] == (FrameState.ISOLATED if said[pfn] is FrameState.ISOLATED else FrameState.BALLOONED)
        else:
            assert drawn[pfn] == said[pfn]


@given(states_of_16, st.sets(st.sampled_from(list(FrameState)), min_size=1))
def test_ranges_are_the_runs_of_the_states_asked_for(drawn: list[FrameState], states: set[FrameState]) -> None:
    found = list(ranges(np.array(drawn, dtype=np.uint8), 100, states))
    frames = {pfn: state for part, state in found for pfn in range(part.first, part.end)}
    assert frames == {100 + at: state for at, state in enumerate(drawn) if state in states}
    for (before, state), (after, other) in itertools.pairwise(found):
        assert before.end < after.first or (before.end == after.first and state is not other)


@given(states_of_16, st.integers(0, 16), st.sets(st.sampled_from(list(FrameState)), min_size=1))
def test_pieces_are_joined_as_if_there_were_none(drawn: list[FrameState], cut: int, states: set[FrameState]) -> None:
    array = np.array(drawn, dtype=np.uint8)
    pieces = [*ranges(array[:cut], 0, states), *ranges(array[cut:], cut, states)]
    assert list(merged(pieces)) == list(ranges(array, 0, states))


@given(states_of_16, st.sets(st.sampled_from(list(FrameState)), min_size=1))
def test_a_bitmap_has_a_bit_for_each_frame_in_one_of_the_states(
    drawn: list[FrameState], states: set[FrameState]
) -> None:
    bits = bitmap(np.array(drawn, dtype=np.uint8), states)
    assert [bits[at // 8] >> at % 8 & 1 for at in range(16)] == [state in states for state in drawn]
