"""Packed rings: when the device notifies the driver, and when it wants to be notified."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.packed_by_hand import (
    DATA,
    RING,
    packed_by_hand,
)
from support.properties import examples

from protocol.packed_ring import (
    DESCRIPTOR_RING_ALIGNMENT,
    RING_START,
    EventFlag,
    PackedRingGeometry,
)

SIZE = 7
FOUR = (DATA, 4, 0)
"""An element of 4 bytes that the device reads."""


@pytest.mark.clause(84, "2.8.10", "MUST notify of every buffer at ENABLE and of none at DISABLE")
@pytest.mark.parametrize("event_idx", [False, True])
@pytest.mark.parametrize("off_wrap", [0, 3, RING_START.word])
def test_enable_and_disable_mean_what_they_say_whatever_the_offset_is(event_idx, off_wrap):
    with packed_by_hand(SIZE, event_idx=event_idx) as ring:
        for flags in (EventFlag.ENABLE, EventFlag.DISABLE, EventFlag.ENABLE):
            ring.ask_for_interrupt(flags, off_wrap)
            ring.offer(1, FOUR)
            ring.serve()
            assert ring.device.should_notify() == (flags == EventFlag.ENABLE)


@pytest.mark.clause(84, "2.8.10", "MUST notify at DESC when the descriptor is used that off_wrap names")
@examples(50)
@given(
    start=st.integers(0, 2 * SIZE - 1),
    asked=st.integers(0, SIZE - 1),
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=2),
)
def test_the_batch_with_the_named_descriptor_is_notified_of(start, asked, batches):
    with packed_by_hand(SIZE, event_idx=True) as ring:
        ring.go_round(start)
        named = RING_START.moved(start + asked, SIZE)
        ring.ask_for_interrupt(EventFlag.DESC, named.word)
        done = 0
        for batch in batches:
            for _ in range(batch):
                ring.offer(1, FOUR)
                ring.serve()
            assert ring.device.should_notify() == (done <= asked < done + batch)
            done += batch


@pytest.mark.clause(84, "2.8.10", "MUST ask for kicks by DESC only with EVENT_IDX")
@pytest.mark.parametrize("event_idx", [False, True])
@pytest.mark.parametrize("start", [0, 3, SIZE - 1, SIZE + 2])
def test_a_kick_is_asked_for_at_the_next_descriptor_or_always(event_idx, start):
    with packed_by_hand(SIZE, event_idx=event_idx) as ring:
        ring.go_round(start)
        assert not ring.device.enable_kicks()
        if event_idx:
            assert ring.device_event == (ring.next_avail.word, EventFlag.DESC)
        else:
            assert ring.device_event[1] == EventFlag.ENABLE


@pytest.mark.clause(84, "2.8.10.1", "and a queue has any number of entries from 1 to 32768, aligned to 16 bytes")
@pytest.mark.parametrize(("size", "good"), [(1, True), (7, True), (32768, True), (0, False), (32769, False)])
def test_the_size_of_a_packed_ring_is_checked(size, good):
    assert DESCRIPTOR_RING_ALIGNMENT == 16
    assert RING % DESCRIPTOR_RING_ALIGNMENT == 0
    if good:
        assert PackedRingGeometry(size).descriptor_ring_bytes == 16 * size
    else:
        with pytest.raises(ValueError, match="from 1 to 32768"):
            PackedRingGeometry(size)
