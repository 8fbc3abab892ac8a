import functools
from contextlib import closing

import pytest
from support.interleaving import interrupt

from guest_driver import packed_ring as ring_module
from guest_driver.errors import GuestModelError
from guest_driver.packed_ring import PackedDriverRing, PackedRingAddresses
from guest_driver.ram import Ram
from protocol.packed_ring import (
    PACKED_DESCRIPTOR,
    EventFlag,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingPosition,
)

AVAIL, USED, WRITE = PackedFlag.AVAIL, PackedFlag.USED, PackedFlag.WRITE
SIZE = 3
GEOMETRY = PackedRingGeometry(SIZE)
ADDRESSES = PackedRingAddresses(descriptor_ring=0x0, driver_event=0x1000, device_event=0x2000)

both_ways = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event index"])


class Memory:
    """The ring as it lies in memory, seen by neither half, and where a device would go on."""

    def __init__(self, ram: Ram) -> None:
        self.ring = ram.view(ADDRESSES.descriptor_ring, GEOMETRY.descriptor_ring_bytes)
        self.driver_event = ram.view(ADDRESSES.driver_event, 4).cast("H")
        self.device_event = ram.view(ADDRESSES.device_event, 4).cast("H")
        self.used = 0

    def descriptor(self, offset: int) -> PackedDescriptor:
        return PACKED_DESCRIPTOR.unpack_from(self.ring, offset * PACKED_DESCRIPTOR.size)

    def use(self, head: int) -> None:
        """Return a buffer as a device does."""
        lap, offset = divmod(self.used, SIZE)
        used = PackedDescriptor(0, 0, head, AVAIL | USED if lap % 2 == 0 else 0)
        PACKED_DESCRIPTOR.pack_into(self.ring, offset * PACKED_DESCRIPTOR.size, used)
        self.used += 1

    def want_kicks(self, flags: int, off_wrap: int = 0) -> None:
        self.device_event[0], self.device_event[1] = off_wrap, flags

    def close(self) -> None:
        for view in (self.ring, self.driver_event, self.device_event):
            view.release()


@pytest.fixture
def ram():
    with closing(Ram(1 << 16)) as made:
        yield made


@pytest.fixture
def memory(ram):
    with closing(Memory(ram)) as made:
        yield made


def make_ring(ram: Ram, *, event_idx: bool = False) -> PackedDriverRing:
    return PackedDriverRing(ram, GEOMETRY, ADDRESSES, event_idx=event_idx)


def test_a_new_ring_is_empty_whatever_was_in_its_memory(ram, memory):
    ram.write(0, b"\xff" * 0x3000)
    with closing(make_ring(ram)) as ring:
        assert not any(memory.ring)
        assert tuple(memory.driver_event) == tuple(memory.device_event) == (0, EventFlag.ENABLE)
        assert ring.get_used() is None


def test_a_buffer_is_described_and_made_available(ram, memory):
    with closing(make_ring(ram)) as ring:
        head = ring.add(0x123456789, 1024)
        assert memory.descriptor(0) == PackedDescriptor(0x123456789, 1024, head, AVAIL)
        assert memory.descriptor(1).flags == 0


def test_a_buffer_for_the_device_to_write_says_so(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.add(0, 4, device_writes=True)
        assert memory.descriptor(0).flags == WRITE | AVAIL


def test_buffers_in_flight_have_ids_of_their_own(ram):
    with closing(make_ring(ram)) as ring:
        assert sorted(ring.add(n, 4) for n in range(SIZE)) == list(range(SIZE))
        with pytest.raises(GuestModelError, match="a ring of 3 is full"):
            ring.add(9, 4)


def test_the_next_buffer_lies_behind_the_last_one_whatever_its_id(ram, memory):
    with closing(make_ring(ram)) as ring:
        heads = [ring.add(n, 4) for n in range(SIZE)]
        memory.use(heads[2])
        assert ring.get_used() == heads[2]
        assert ring.add(9, 4) == heads[2]
        assert memory.descriptor(0) == PackedDescriptor(9, 4, heads[2], USED)


def test_the_turn_changes_with_every_lap(ram, memory):
    with closing(make_ring(ram)) as ring:
        flags = []
        for number in range(4 * SIZE):
            memory_offset = number % SIZE
            head = ring.add(0, 4)
            flags.append(memory.descriptor(memory_offset).flags)
            assert ring.get_used() is None
            memory.use(head)
            assert ring.get_used() == head
        assert flags == ([AVAIL] * SIZE + [USED] * SIZE) * 2


def test_buffers_come_back_in_the_order_in_which_the_device_used_them(ram, memory):
    with closing(make_ring(ram)) as ring:
        for _ in range(5):
            heads = [ring.add(n, 4) for n in range(SIZE)]
            for head in reversed(heads):
                memory.use(head)
            assert [ring.get_used() for _ in range(SIZE + 1)] == [*reversed(heads), None]


@both_ways
def test_the_device_is_kicked_unless_its_flags_say_otherwise(ram, memory, event_idx):
    with closing(make_ring(ram, event_idx=event_idx)) as ring:
        kicks = []
        for flags in (EventFlag.ENABLE, EventFlag.DISABLE, 0xFFFC, 0xFFFC | EventFlag.DISABLE, 3):
            memory.want_kicks(flags)
            memory.use(ring.add(0, 4))
            ring.get_used()
            kicks.append(ring.should_kick())
        assert kicks == [True, False, True, False, True]


def test_with_event_index_the_device_is_kicked_when_its_descriptor_is_passed(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        kicks = []
        memory.want_kicks(EventFlag.DESC, RingPosition(1, 0).word)
        for _ in range(4 * SIZE):
            memory.use(ring.add(0, 4))
            ring.get_used()
            kicks.append(ring.should_kick())
        assert [number for number, kicked in enumerate(kicks) if kicked] == [4, 10]


def test_with_event_index_a_batch_that_passes_the_descriptor_is_kicked_for_once(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        memory.want_kicks(EventFlag.DESC, RingPosition(1, 1).word)
        for _ in range(3):
            ring.add(0, 4)
        assert ring.should_kick()
        assert not ring.should_kick()


def test_with_event_index_the_driver_asks_for_an_interrupt_at_the_next_buffer(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        asked = [tuple(memory.driver_event)]
        for _ in range(2 * SIZE):
            memory.use(ring.add(0, 4))
            assert ring.get_used() is not None
            assert ring.get_used() is None
            asked.append(tuple(memory.driver_event))
    words = [0x8000, 0x8001, 0x8002, 0x0000, 0x0001, 0x0002, 0x8000]
    assert asked == [(word, EventFlag.DESC) for word in words]


def test_without_event_index_the_driver_names_no_descriptor(ram, memory):
    with closing(make_ring(ram)) as ring:
        memory.driver_event[0] = 0x1234
        memory.use(ring.add(0, 4))
        ring.get_used()
        ring.get_used()
        assert tuple(memory.driver_event) == (0x1234, EventFlag.ENABLE)


def test_a_buffer_is_complete_before_its_flags_make_it_available(ram, memory):
    seen, step, came_in_between = [], 0, True
    while came_in_between:
        with closing(make_ring(ram)) as ring:

            def look() -> None:
                seen.append(memory.descriptor(0).flags)
                if seen[-1]:
                    assert memory.descriptor(0) == PackedDescriptor(0x100, 8, 0, AVAIL | WRITE)

            _, came_in_between = interrupt(
                lambda ring=ring: ring.add(0x100, 8, device_writes=True), ring_module.__name__, step, look
            )
        step += 1
    assert set(seen) == {0, AVAIL | WRITE}


def test_a_barrier_stands_between_adding_a_buffer_and_looking_what_the_device_wants(ram, memory, monkeypatch):
    with closing(make_ring(ram)) as ring:
        memory.want_kicks(EventFlag.DISABLE)
        monkeypatch.setattr(ring_module, "full_barrier", lambda: memory.want_kicks(EventFlag.ENABLE))
        ring.add(0, 4)
        assert ring.should_kick()


def test_a_barrier_stands_behind_asking_for_an_interrupt(ram, memory, monkeypatch):
    with closing(make_ring(ram, event_idx=True)) as ring:
        asked = []
        monkeypatch.setattr(ring_module, "full_barrier", lambda: asked.append(memory.driver_event[0]))
        memory.use(ring.add(0, 4))
        ring.get_used()
        assert asked == [RingPosition(1, 1).word]


def test_a_closed_ring_leaves_no_view_of_memory():
    ram = Ram(1 << 16)
    make_ring(ram).close()
    ram.close()


# Chains.

NEXT = PackedFlag.NEXT


def test_a_buffer_of_several_pieces_lies_in_a_row_readable_ones_first(ram, memory):
    with closing(make_ring(ram)) as ring:
        head = ring.add_chain([(0x100, 1), (0x200, 2)], [(0x300, 3)])
        assert [memory.descriptor(offset) for offset in range(3)] == [
            PackedDescriptor(0x100, 1, head, NEXT | AVAIL),
            PackedDescriptor(0x200, 2, head, NEXT | AVAIL),
            PackedDescriptor(0x300, 3, head, WRITE | AVAIL),
        ]


def test_a_list_that_goes_round_changes_its_turn_at_the_end_of_the_ring(ram, memory):
    with closing(make_ring(ram)) as ring:
        memory.use(ring.add_chain([(0, 1), (0, 2)], []))
        memory.used = 2
        ring.get_used()
        head = ring.add_chain([(0x100, 1)], [(0x200, 2)])
        assert memory.descriptor(2) == PackedDescriptor(0x100, 1, head, NEXT | AVAIL)
        assert memory.descriptor(0) == PackedDescriptor(0x200, 2, head, WRITE | USED)


def test_one_used_descriptor_stands_for_a_whole_list_which_is_skipped(ram, memory):
    """2.8.6."""
    with closing(make_ring(ram)) as ring:
        first = ring.add_chain([(0, 1), (0, 2)], [])
        second = ring.add(0, 4)
        assert ring.num_free == 0
        memory.use(first)
        memory.used = 2
        assert (ring.get_used(), ring.num_free, ring.get_used()) == (first, 2, None)
        memory.use(second)
        assert (ring.get_used(), ring.num_free, ring.get_used()) == (second, 3, None)


def test_a_list_is_available_with_its_first_flags_only(ram, memory):
    """2.8.21.1: a device that sees the first descriptor sees the others."""
    step, came_in_between, seen = 0, True, set()
    while came_in_between:
        memory.ring[:] = bytes(len(memory.ring))
        with closing(make_ring(ram)) as ring:

            def look() -> None:
                seen.add(memory.descriptor(0).flags != 0)
                if memory.descriptor(0).flags:
                    assert [memory.descriptor(offset).flags & AVAIL for offset in range(3)] == [AVAIL] * 3

            add = functools.partial(ring.add_chain, [(0x100, 8)] * 3, [])
            _, came_in_between = interrupt(add, ring_module.__name__, step, look)
        step += 1
    assert seen == {False, True}


def test_a_list_for_which_there_is_no_room_leaves_no_trace(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.add(0, 4)
        with pytest.raises(GuestModelError, match="a ring of 3 is full"):
            ring.add_chain([(0, 1)] * SIZE, [])
        with pytest.raises(GuestModelError, match="without any piece"):
            ring.add_chain([], [])
        assert (ring.num_free, memory.descriptor(1).flags) == (2, 0)


def test_a_list_counts_as_its_descriptors_where_the_device_says_when_it_wants_a_kick(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        memory.want_kicks(EventFlag.DESC, RingPosition(0, 1).word)
        ring.add_chain([(0, 1), (0, 2)], [])
        assert ring.should_kick()
        ring.add(0, 4)
        assert not ring.should_kick()


def test_a_buffer_that_the_device_was_not_given_stops_the_driver(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.add(0, 4)
        memory.use(2)
        with pytest.raises(GuestModelError, match="which it was not given"):
            ring.get_used()


# Without a callback.


@both_ways
def test_a_queue_without_a_callback_asks_for_no_interrupt(ram, memory, event_idx):
    with closing(make_ring(ram, event_idx=event_idx)) as ring:
        ring.disable_interrupts()
        before = memory.driver_event[0]
        memory.use(ring.add(0, 4))
        assert ring.get_used() is not None
        assert tuple(memory.driver_event) == (before, EventFlag.DISABLE)


# IN_ORDER.


def test_in_order_one_used_descriptor_stands_for_all_buffers_up_to_the_one_that_it_names(ram, memory):
    """2.8.8: it lies where the batch begins, and the batch is skipped."""
    with closing(make_ring(ram)) as ring:
        ring.in_order = True
        for _ in range(4):
            first, second = ring.add_chain([(0, 1), (0, 2)], []), ring.add(0, 4)
            memory.use(second)
            memory.used += 2
            assert [ring.get_used() for _ in range(3)] == [first, second, None]
            assert ring.num_free == SIZE


def test_in_order_a_device_may_use_each_buffer_by_itself_too(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.in_order = True
        for number in range(4 * SIZE):
            heads = [ring.add(number, 4), ring.add(number, 4)]
            for head in heads:
                memory.use(head)
            assert [ring.get_used() for _ in range(3)] == [*heads, None]
