import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from protocol.packed_ring import (
    AVAILABLE_TURN,
    EVENT_AREA,
    FRESH_BASE,
    PACKED_DESCRIPTOR,
    RING_START,
    TURN_MASK,
    USED_TURN,
    EventArea,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingBase,
    RingPosition,
    decode_base,
    encode_base,
    need_event,
)

_SIZES = st.sampled_from([1, 2, 3, 5, 7, 8, 128, 32767, 32768]) | st.integers(1, 32768)


def _positions(size: int) -> st.SearchStrategy[RingPosition]:
    offsets = st.sampled_from([0, size - 1]) | st.integers(0, size - 1)
    return st.builds(RingPosition, offsets, st.integers(0, 1))


def _next(position: RingPosition, size: int) -> RingPosition:
    if position.offset + 1 < size:
        return RingPosition(position.offset + 1, position.wrap)
    return RingPosition(0, 1 - position.wrap)


def _walk(start: RingPosition, moved: int, size: int) -> list[RingPosition]:
    """List what is passed, and where it ends."""
    passed = [start]
    for _ in range(moved):
        passed.append(_next(passed[-1], size))
    return passed


@st.composite
def _moves(draw) -> tuple[int, RingPosition, int]:
    """A queue size of which no walk takes long, a position, and a move within a lap."""
    size = draw(st.integers(1, 9) | st.sampled_from([128, 300]))
    return size, draw(_positions(size)), draw(st.integers(0, size))


@given(move=_moves())
def test_a_position_moves_one_descriptor_at_a_time_and_its_wrap_counter_changes_at_the_end(move):
    size, start, count = move
    end = _walk(start, count, size)[-1]
    assert start.moved(count, size) == end
    assert end.moved(-count, size) == start
    assert end.ahead_of(start, size) == count


@given(size=_SIZES, data=st.data())
def test_two_laps_lead_back_to_where_they_began(size, data):
    start = data.draw(_positions(size))
    assert start.moved(size, size) == RingPosition(start.offset, 1 - start.wrap)
    assert start.moved(2 * size, size) == start.moved(-2 * size, size) == start


@given(word=st.integers(0, 0xFFFF))
def test_every_word_is_an_offset_of_15_bits_and_a_wrap_counter(word):
    position = RingPosition.of_word(word)
    assert position == (word % 32768, word // 32768)
    assert position.word == word


@examples(400)
@given(move=_moves(), data=st.data())
def test_an_event_is_due_when_a_move_passes_its_descriptor(move, data):
    size, start, moved = move
    *passed, end = _walk(start, moved, size)
    near = st.integers(-2, 2).map(lambda distance: start.moved(distance, size))
    event = data.draw(_positions(size) | st.sampled_from([start, end]) | near)
    assert need_event(event.word, end, moved, size) == (event in passed)


def test_an_event_is_told_from_the_one_a_lap_later_by_its_wrap_counter():
    assert need_event(0x8002, RingPosition(3, 1), 1, 5)
    assert not need_event(0x0002, RingPosition(3, 1), 1, 5)
    assert need_event(0x8004, RingPosition(1, 0), 2, 5)
    assert need_event(0x0000, RingPosition(1, 0), 2, 5)
    assert not need_event(0x0004, RingPosition(1, 0), 2, 5)
    assert not need_event(0x8000, RingPosition(1, 0), 2, 5)


@pytest.mark.parametrize("off_wrap", [0x0005, 0x8005, 0x7FFF, 0xFFFF])
def test_an_event_outside_of_the_ring_is_due_at_every_move(off_wrap):
    for offset in range(5):
        assert need_event(off_wrap, RingPosition(offset, 1), 1, 5)
        assert not need_event(off_wrap, RingPosition(offset, 1), 0, 5)


def test_a_fresh_ring_has_wrap_counters_of_1():
    assert FRESH_BASE == 0x80008000
    assert RingPosition(0, 1) == RING_START
    assert decode_base(FRESH_BASE, 128) == RingBase(RingPosition(0, 1), RingPosition(0, 1), fresh=True)


@given(size=st.integers(1, 32767))
def test_a_base_of_0_is_a_fresh_ring(size):
    assert decode_base(0, size) == decode_base(FRESH_BASE, size)
    assert encode_base(decode_base(0, size), size) == FRESH_BASE


def test_the_available_position_is_in_the_low_half_of_a_base():
    base = RingBase(RingPosition(2, 0), RingPosition(6, 1), fresh=False)
    assert encode_base(base, 8) == 0x80060002
    assert decode_base(0x80060002, 8) == base


@examples(300)
@given(size=_SIZES, data=st.data())
def test_a_position_is_the_same_when_it_comes_back(size, data):
    used = data.draw(_positions(size))
    avail = used.moved(data.draw(st.sampled_from([0, 0, 1, size]) | st.integers(0, size)), size)
    said = encode_base(RingBase(avail, used, fresh=False), size)
    positions = decode_base(said, size)[:2]
    assert 0 <= said < 1 << 32
    assert positions == (avail, used)


@examples(300)
@given(size=st.integers(1, 32767), data=st.data())
def test_a_ring_that_was_used_is_never_taken_for_a_fresh_one(size, data):
    position = data.draw(_positions(size) | st.just(RING_START) | st.just(RingPosition(0, 0)))
    said = encode_base(RingBase(position, position, fresh=False), size)
    assert said not in {0, FRESH_BASE}
    assert decode_base(said, size) == RingBase(position, position, fresh=False)


def test_only_the_used_half_says_that_it_is_at_the_end_of_a_lap():
    lapped = RingBase(RingPosition(0, 0), RingPosition(0, 0), fresh=False)
    assert encode_base(lapped, 128) == 0x80800000
    lapped_twice = RingBase(RingPosition(0, 1), RingPosition(0, 1), fresh=False)
    assert encode_base(lapped_twice, 128) == 0x00808000


def test_in_the_largest_ring_0_is_a_position():
    lapped = RingBase(RingPosition(0, 0), RingPosition(0, 0), fresh=False)
    assert encode_base(lapped, 32768) == 0
    assert decode_base(0, 32768) == lapped
    assert decode_base(FRESH_BASE, 32768).fresh


@pytest.mark.parametrize(
    "base",
    [
        0x80008008,  # available beyond the ring
        0x80098000,  # used beyond the end of the ring
        0xFFFFFFFF,
        0x80038002,  # used is ahead
        0x80020003,  # more than a lap between
        0x80000001,
    ],
)
def test_what_is_no_position_of_the_ring_is_refused(base):
    with pytest.raises(ValueError, match=f"position {base:#x} is not in a packed ring of 8"):
        decode_base(base, 8)


@examples(300)
@given(size=_SIZES, base=st.integers(0, 0xFFFFFFFF))
def test_whatever_a_front_end_gives_is_refused_or_lies_in_the_ring(size, base):
    try:
        avail, used, _ = decode_base(base, size)
    except ValueError:
        return
    assert max(avail.offset, used.offset) < size
    assert 0 <= avail.ahead_of(used, size) <= size


def test_a_descriptor_has_the_layout_of_the_specification():
    descriptor = PackedDescriptor(addr=0x1122334455667788, len=0x99AABBCC, id=0xDDEE, flags=0x8087)
    assert PACKED_DESCRIPTOR.pack(descriptor).hex() == "8877665544332211ccbbaa99eedd8780"
    assert EVENT_AREA.pack(EventArea(off_wrap=0x8003, flags=2)).hex() == "03800200"


def test_a_descriptor_is_whose_turn_it_is_by_two_flags():
    assert PackedFlag.AVAIL == 0x0080
    assert PackedFlag.USED == TURN_MASK - PackedFlag.AVAIL == 0x8000
    assert AVAILABLE_TURN == (0x8000, 0x0080)
    assert USED_TURN == (0x0000, 0x8080)


@pytest.mark.parametrize(("size", "ring"), [(1, 16), (3, 48), (128, 2048), (32768, 524288)])
def test_the_parts_of_a_ring_have_the_sizes_of_the_specification(size, ring):
    geometry = PackedRingGeometry(size)
    assert geometry.descriptor_ring_bytes == ring
    assert geometry.driver_event_bytes == geometry.device_event_bytes == 4


@pytest.mark.parametrize("size", [-8, 0, 32769, 65536])
def test_a_queue_size_that_is_not_from_1_to_32768_is_refused(size):
    with pytest.raises(ValueError, match=f"queue size {size} of a packed ring"):
        PackedRingGeometry(size)
