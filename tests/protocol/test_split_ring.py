import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from protocol.split_ring import SplitRingGeometry, need_event

_INDEX = st.integers(0, 0xFFFF)
# Most moves of an index are short; a queue has 32768 entries at most.
_MOVE = st.integers(0, 4) | st.integers(0, 300) | st.integers(0, 32768)


def _walk(old: int, moved: int) -> list[int]:
    return [(old + step) % 65536 for step in range(moved)]


@examples(300)
@given(old=_INDEX, moved=_MOVE, event=_INDEX)
def test_an_event_is_due_when_an_index_walks_over_it(old, moved, event):
    assert need_event(event, (old + moved) % 65536, old) == (event in _walk(old, moved))


@examples(300)
@given(old=_INDEX, moved=_MOVE, distance=st.integers(-3, 3), at_the_end=st.booleans())
def test_an_event_at_either_end_of_a_move_is_due_only_if_walked_over(old, moved, distance, at_the_end):
    event = (old + (moved if at_the_end else 0) + distance) % 65536
    assert need_event(event, (old + moved) % 65536, old) == (event in _walk(old, moved))


@given(index=_INDEX, event=_INDEX)
def test_moving_by_nothing_passes_nothing(index, event):
    assert not need_event(event, index, index)


def test_an_event_is_seen_over_the_wrap_of_the_index():
    assert need_event(0xFFFF, 0, 0xFFFF)
    assert need_event(0, 1, 0xFFFF)
    assert not need_event(1, 1, 0xFFFF)
    assert not need_event(0xFFFE, 1, 0xFFFF)


@pytest.mark.parametrize(
    ("size", "table", "avail", "used"),
    [(1, 16, 8, 14), (8, 128, 22, 70), (256, 4096, 518, 2054), (32768, 524288, 65542, 262150)],
)
def test_the_parts_of_a_ring_have_the_sizes_of_the_specification(size, table, avail, used):
    geometry = SplitRingGeometry(size)
    assert geometry.descriptor_table_bytes == table
    assert geometry.avail_ring_bytes == avail
    assert geometry.used_ring_bytes == used


@pytest.mark.parametrize("exponent", range(16))
def test_the_event_words_are_the_last_of_their_rings_behind_all_entries(exponent):
    size = 2**exponent
    geometry = SplitRingGeometry(size)
    assert geometry.used_event_word * 2 == 4 + 2 * size == geometry.avail_ring_bytes - 2
    assert geometry.avail_event_word * 2 == 4 + 8 * size == geometry.used_ring_bytes - 2
    assert geometry.used_elements_end == 4 + 8 * size


@pytest.mark.parametrize("size", [-8, 0, 3, 6, 127, 32767, 65536])
def test_a_queue_size_that_is_not_a_power_of_two_up_to_32768_is_refused(size):
    with pytest.raises(ValueError, match=f"queue size {size} is not a power of two"):
        SplitRingGeometry(size)
