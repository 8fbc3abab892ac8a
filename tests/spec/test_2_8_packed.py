"""Packed rings: what binds the device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.interleaving import interrupt
from support.packed_by_hand import (
    DATA,
    INDIRECT,
    MEMORY_BYTES,
    NEXT,
    WRITE,
    HandPackedRing,
    packed_by_hand,
)
from support.properties import examples

from protocol.packed_ring import (
    PACKED_DESCRIPTOR,
    RING_START,
    PackedDescriptor,
    PackedFlag,
    RingPosition,
)
from vballoond.errors import GuestError
from vballoond.virtqueue import packed
from vballoond.virtqueue.chain import Buffer

AVAIL, USED = int(PackedFlag.AVAIL), int(PackedFlag.USED)
SIZE = 7
FOUR = (DATA, 4, 0)
"""An element of 4 bytes that the device reads."""


# Availability and order.


@pytest.mark.clause(79, "2.8.12", "MUST begin with buffers in the order in which they are in the ring")
def test_buffers_are_taken_in_ring_order_over_the_end_of_the_ring():
    with packed_by_hand(SIZE) as ring:
        ring.go_round(5)
        for buffer_id in (4, 0, 6, 2):
            ring.offer(buffer_id, FOUR)
        assert [ring.device.pop().head for _ in range(4)] == [4, 0, 6, 2]
        assert ring.device.pop() is None


@pytest.mark.clause(79, "2.8.12", "MUST write used descriptors in the order in which buffers are completed")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_used_descriptors_stand_in_the_order_of_completion(order):
    with packed_by_hand(SIZE) as ring:
        for buffer_id in range(3):
            ring.offer(buffer_id, FOUR)
            ring.device.pop()
        for buffer_id in order:
            ring.device.push(buffer_id)
        assert tuple(ring.descriptor(offset).id for offset in range(3)) == order


@pytest.mark.clause(80, "2.8.15", "MUST NOT use a descriptor before its flags make it available")
@pytest.mark.parametrize("lap", range(4))
def test_a_descriptor_is_available_when_avail_and_not_used_is_as_the_lap_says(lap):
    with packed_by_hand(SIZE) as ring:
        ring.go_round(lap * SIZE)
        available = USED if lap % 2 else AVAIL
        for flags in {0, AVAIL, USED, AVAIL | USED} - {available}:
            ring.describe(0, DATA, 4, 1, flags)
            assert ring.device.pop() is None
        ring.describe(0, DATA, 4, 1, available)
        assert ring.device.pop().readable == (Buffer(DATA, 4),)


@pytest.mark.clause(80, "2.8.15", "MUST NOT change a descriptor once it is marked as used")
def test_a_used_descriptor_is_whole_when_it_is_marked_and_stays_as_it_is():
    step, came_in_between, published = 0, True, set()
    while came_in_between:
        with packed_by_hand(SIZE) as ring:
            ring.offer(6, FOUR, FOUR)  # the id is in the second one
            ring.offer(5, FOUR)
            taken = [ring.device.pop().head for _ in range(2)]

            def look(ring: HandPackedRing = ring) -> None:
                used = bool(ring.flags(0) & USED)
                published.add(used)
                assert not used or ring.descriptor(0) == PackedDescriptor(DATA, 12, 6, AVAIL | USED | WRITE)

            def finish(ring: HandPackedRing = ring, taken: list[int] = taken) -> None:
                ring.device.push(taken[0], 12)
                ring.device.push(taken[1])
                ring.device.should_notify()
                ring.device.enable_kicks()

            _, came_in_between = interrupt(finish, packed.__name__, step, look)
        step += 1
    assert published == {False, True}


@pytest.mark.clause(80, "2.8.15", "MUST NOT write into readable buffers")
def test_nothing_is_written_but_used_descriptors_and_the_devices_event_area():
    with packed_by_hand(SIZE, event_idx=True) as ring:
        ring.offer(3, FOUR, (DATA + 8, 8, WRITE))
        ring.offer(4, FOUR)
        content = ring.content()
        before = ring.memory.read(DATA, MEMORY_BYTES - DATA)
        ring.serve(2)
        ring.device.should_notify()
        ring.device.enable_kicks()
        assert ring.memory.read(DATA, MEMORY_BYTES - DATA) == before
        changed = {at // 16 for at, (old, new) in enumerate(zip(content, ring.content(), strict=True)) if old != new}
        assert changed == {0, 2}


# Lists.


@pytest.mark.clause(81, "2.8.18", "MUST take the descriptors of a list in their order, and its id from the last")
@pytest.mark.parametrize("start", [0, 5])
def test_a_list_is_one_buffer_in_the_order_of_its_descriptors(start):
    with packed_by_hand(SIZE) as ring:
        ring.go_round(start)
        ring.offer(5, (0x30, 3, 0), (0x10, 1, 0), (0x20, 2, WRITE))
        chain = ring.device.pop()
        assert (chain.head, chain.readable, chain.writable) == (
            5,
            (Buffer(0x30, 3), Buffer(0x10, 1)),
            (Buffer(0x20, 2),),
        )


@pytest.mark.clause(81, "2.8.18", "MUST write one used descriptor for a list, and skip as many as it has")
@examples(50)
@given(lengths=st.lists(st.integers(1, SIZE), min_size=1, max_size=12))
def test_the_next_used_descriptor_is_behind_the_list(lengths):
    with packed_by_hand(SIZE) as ring:
        at = RING_START
        for length in lengths:
            ring.offer(2, *[FOUR] * length)
            before = ring.content()
            ring.serve()
            used = ring.descriptor(at.offset)
            assert (used.id, used.flags) == (2, (AVAIL | USED) * at.wrap)
            rest = [position for position in range(SIZE) if position != at.offset]
            assert all(PACKED_DESCRIPTOR.unpack_from(before, 16 * other) == ring.descriptor(other) for other in rest)
            at = at.moved(length, SIZE)


@pytest.mark.clause(81, "2.8.18", "and a list that breaks a rule for drivers breaks the balloon, not the device")
@pytest.mark.parametrize(
    ("elements", "changed", "reason"),
    [
        ([FOUR, FOUR], (1, 0), "is not available"),
        ([(DATA, 4, WRITE), FOUR], None, "behind a writable one"),
        ([(DATA, 16, INDIRECT), FOUR], None, "an indirect descriptor in a list of 2"),
        ([FOUR] * SIZE, (SIZE - 1, AVAIL | NEXT), "more than 7 descriptors"),
    ],
)
def test_a_list_that_breaks_a_rule_is_refused_where_it_stands(elements, changed, reason):
    with packed_by_hand(SIZE, indirect=True) as ring:
        ring.offer(1, *elements)
        if changed is not None:
            ring.set_flags(*changed)
        before, content = ring.device.next_avail, ring.content()
        for _ in range(2):
            with pytest.raises(GuestError, match=reason):
                ring.device.pop()
        assert (ring.device.next_avail, ring.content()) == (before, content)


# Used descriptors.


@pytest.mark.clause(82, "2.8.1", "MUST begin with a wrap counter of 1, and change it at the end of the ring")
def test_the_flags_of_used_descriptors_both_are_the_wrap_counter():
    with packed_by_hand(SIZE) as ring:
        for lap in range(4):
            for offset in range(SIZE):
                ring.offer(1, FOUR)
                ring.serve()
                assert ring.flags(offset) & (AVAIL | USED) == (0 if lap % 2 else AVAIL | USED)


@pytest.mark.clause(82, "2.8.1", "and a used length counts only with WRITE, which is set where bytes were written")
@pytest.mark.parametrize("written_bytes", [0, 1, 4096])
def test_write_says_whether_the_used_length_is_one(written_bytes):
    with packed_by_hand(SIZE) as ring:
        ring.offer(1, (DATA, 4096, WRITE))
        ring.device.push(ring.device.pop().head, written_bytes)
        assert bool(ring.flags(0) & WRITE) == bool(written_bytes)
        assert ring.descriptor(0).len == written_bytes


# Indirect tables.


@pytest.mark.clause(83, "2.8.7", "MUST read a table from first to last, and of its flags WRITE alone")
@pytest.mark.parametrize("flags", [0, NEXT, AVAIL, USED, AVAIL | USED | NEXT])
def test_the_entries_of_a_table_follow_each_other_whatever_else_their_flags_say(flags):
    table = [PackedDescriptor(0x10 * n, n, 0xBAD, flags | (WRITE if n > 2 else 0)) for n in (1, 2, 3)]
    with packed_by_hand(SIZE, indirect=True) as ring:
        length = ring.write(DATA, b"".join(map(PACKED_DESCRIPTOR.pack, table)))
        ring.offer(3, (DATA, length, INDIRECT))
        chain = ring.device.pop()
        assert (chain.head, chain.readable, chain.writable) == (
            3,
            (Buffer(0x10, 1), Buffer(0x20, 2)),
            (Buffer(0x30, 3),),
        )
        ring.device.push(3)
        assert ring.device.next_avail >> 16 == RingPosition(1, 1).word


@pytest.mark.clause(83, "2.8.7", "but INDIRECT in a table, which a driver must not set, breaks the balloon", "not met")
def test_a_table_in_a_table_is_refused():
    with packed_by_hand(SIZE, indirect=True) as ring:
        ring.write(DATA, PACKED_DESCRIPTOR.pack(PackedDescriptor(DATA, 16, 0, INDIRECT)))
        ring.offer(3, (DATA, 16, INDIRECT))
        with pytest.raises(GuestError, match="indirect"):
            ring.device.pop()
