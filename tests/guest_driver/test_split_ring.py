from contextlib import closing

import pytest
from support.interleaving import interrupt
from support.ring_pair import ring_pair

from guest_driver import split_ring as ring_module
from guest_driver.errors import GuestModelError
from guest_driver.ram import Ram
from guest_driver.split_ring import DriverRing, RingAddresses
from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag, RingFlag, SplitRingGeometry

SIZE = 4
GEOMETRY = SplitRingGeometry(SIZE)
ADDRESSES = RingAddresses(descriptor_table=0x0, avail_ring=0x1000, used_ring=0x2000)


class Memory:
    """The ring as it lies in memory, seen by neither half."""

    def __init__(self, ram: Ram) -> None:
        self.table = ram.view(ADDRESSES.descriptor_table, GEOMETRY.descriptor_table_bytes)
        self.avail = ram.view(ADDRESSES.avail_ring, GEOMETRY.avail_ring_bytes).cast("H")
        self.used = ram.view(ADDRESSES.used_ring, GEOMETRY.used_ring_bytes).cast("H")

    def descriptor(self, index: int) -> Descriptor:
        return DESCRIPTOR.unpack_from(self.table, index * DESCRIPTOR.size)

    def use(self, head: int) -> None:
        """Return a buffer as a device does."""
        slot = 2 + 4 * (self.used[1] % SIZE)
        self.used[slot], self.used[slot + 1] = head, 0
        self.used[1] = (self.used[1] + 1) % 65536

    def close(self) -> None:
        for view in (self.table, self.avail, self.used):
            view.release()


@pytest.fixture
def ram():
    with closing(Ram(1 << 16)) as made:
        yield made


@pytest.fixture
def memory(ram):
    with closing(Memory(ram)) as made:
        yield made


def make_ring(ram: Ram, *, event_idx: bool = False) -> DriverRing:
    return DriverRing(ram, GEOMETRY, ADDRESSES, event_idx=event_idx)


def test_a_new_ring_is_empty_whatever_was_in_its_memory(ram, memory):
    ram.write(ADDRESSES.avail_ring, b"\xff" * GEOMETRY.avail_ring_bytes)
    ram.write(ADDRESSES.used_ring, b"\xff" * GEOMETRY.used_ring_bytes)
    with closing(make_ring(ram)) as ring:
        assert not any(memory.avail.tolist())
        assert not any(memory.used.tolist())
        assert ring.get_used() is None


def test_a_buffer_is_described_and_made_available(ram, memory):
    with closing(make_ring(ram)) as ring:
        head = ring.add(0x123456789, 1024)
        assert memory.descriptor(head) == Descriptor(0x123456789, 1024, 0, 0)
        assert memory.avail[1] == 1
        assert memory.avail[2] == head


def test_a_buffer_for_the_device_to_write_says_so(ram, memory):
    with closing(make_ring(ram)) as ring:
        assert memory.descriptor(ring.add(0, 4, device_writes=True)).flags == DescriptorFlag.WRITE


def test_buffers_in_flight_have_descriptors_of_their_own(ram):
    with closing(make_ring(ram)) as ring:
        assert sorted(ring.add(n, 4) for n in range(SIZE)) == list(range(SIZE))
        with pytest.raises(GuestModelError, match="a ring of 4 is full"):
            ring.add(9, 4)


def test_a_descriptor_is_free_again_when_its_buffer_came_back(ram, memory):
    with closing(make_ring(ram)) as ring:
        heads = [ring.add(n, 4) for n in range(SIZE)]
        memory.use(heads[2])
        assert ring.get_used() == heads[2]
        assert ring.add(9, 4) == heads[2]
        assert memory.descriptor(heads[2]).addr == 9


def test_buffers_come_back_in_the_order_in_which_the_device_used_them(ram, memory):
    with closing(make_ring(ram)) as ring:
        heads = [ring.add(n, 4) for n in range(SIZE)]
        for head in reversed(heads):
            memory.use(head)
        assert [ring.get_used() for _ in range(SIZE + 1)] == [*reversed(heads), None]


@pytest.mark.parametrize("event_idx", [False, True])
def test_the_ring_goes_round(event_idx):
    with ring_pair(SIZE, event_idx=event_idx) as pair:
        for number in range(3 * SIZE):
            head = pair.driver.add(number, 4)
            chain = pair.device.pop()
            assert (chain.head, chain.readable[0].address) == (head, number)
            pair.device.push(head)
            assert pair.driver.get_used() == head


def test_the_device_is_kicked_unless_its_flag_says_otherwise(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.add(0, 4)
        assert ring.should_kick()
        memory.used[0] = RingFlag.NO_NOTIFY
        ring.add(0, 4)
        assert not ring.should_kick()
        memory.used[0] = 0xFFFE
        ring.add(0, 4)
        assert ring.should_kick()


def test_avail_event_means_nothing_without_event_index(ram, memory):
    with closing(make_ring(ram)) as ring:
        memory.used[GEOMETRY.avail_event_word] = 0x4000
        ring.add(0, 4)
        assert ring.should_kick()


def test_with_event_index_the_device_is_kicked_when_avail_event_is_passed(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        memory.used[0] = RingFlag.NO_NOTIFY
        memory.used[GEOMETRY.avail_event_word] = 2
        kicks = []
        for _ in range(4):
            ring.add(0, 4)
            kicks.append(ring.should_kick())
        assert kicks == [False, False, True, False]


def test_with_event_index_a_batch_that_passes_avail_event_is_kicked_for_once(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        memory.used[GEOMETRY.avail_event_word] = 1
        for _ in range(3):
            ring.add(0, 4)
        assert ring.should_kick()
        assert not ring.should_kick()


def test_with_event_index_taking_a_buffer_back_asks_for_an_interrupt_at_the_next_one(ram, memory):
    with closing(make_ring(ram, event_idx=True)) as ring:
        for number in range(1, 4):
            memory.use(ring.add(0, 4))
            assert ring.get_used() is not None
            assert memory.avail[GEOMETRY.used_event_word] == number


def test_without_event_index_used_event_is_not_written(ram, memory):
    with closing(make_ring(ram)) as ring:
        memory.avail[GEOMETRY.used_event_word] = 0x1234
        memory.use(ring.add(0, 4))
        ring.get_used()
        ring.get_used()
        assert memory.avail[GEOMETRY.used_event_word] == 0x1234
        assert memory.avail[0] == 0


def test_a_buffer_is_complete_before_the_index_that_publishes_it(ram, memory):
    published_at, step, came_in_between = [], 0, True
    while came_in_between:
        memory.table[:] = b"\x5a" * len(memory.table)
        with closing(make_ring(ram)) as ring:
            memory.avail[2] = 0x5A5A

            def look() -> None:
                published_at.append(memory.avail[1])
                if memory.avail[1]:
                    assert memory.descriptor(memory.avail[2]) == Descriptor(0x100, 8, 0, 0)

            _, came_in_between = interrupt(lambda ring=ring: ring.add(0x100, 8), ring_module.__name__, step, look)
        step += 1
    assert set(published_at) == {0, 1}


# Chains.

NEXT, WRITE = DescriptorFlag.NEXT, DescriptorFlag.WRITE


def chain(memory: Memory, head: int) -> list[Descriptor]:
    found = [memory.descriptor(head)]
    while found[-1].flags & NEXT:
        found.append(memory.descriptor(found[-1].next))
    return found


def test_a_buffer_of_several_pieces_is_chained_readable_ones_first(ram, memory):
    with closing(make_ring(ram)) as ring:
        head = ring.add_chain([(0x100, 1), (0x200, 2)], [(0x300, 3), (0x400, 4)])
        found = chain(memory, head)
        assert [(piece.addr, piece.len) for piece in found] == [(0x100, 1), (0x200, 2), (0x300, 3), (0x400, 4)]
        assert [piece.flags for piece in found] == [NEXT, NEXT, NEXT | WRITE, WRITE]
        assert memory.avail.tolist()[1:4] == [1, head, 0]


@pytest.mark.parametrize(("readable", "writable"), [(3, 0), (0, 3), (1, 2), (0, 1)])
def test_a_device_sees_the_pieces_as_they_were_added(readable, writable):
    pieces = [(0x1000 * number, number) for number in range(1, 5)]
    with ring_pair(SIZE, event_idx=False) as pair:
        for _ in range(3 * SIZE):
            head = pair.driver.add_chain(pieces[:readable], pieces[readable : readable + writable])
            seen = pair.device.pop()
            assert seen.readable == tuple(pieces[:readable])
            assert seen.writable == tuple(pieces[readable : readable + writable])
            pair.device.push(head)
            assert pair.driver.get_used() == head


def test_all_descriptors_of_a_buffer_are_free_again_when_it_came_back(ram, memory):
    with closing(make_ring(ram)) as ring:
        assert ring.num_free == SIZE
        head = ring.add_chain([(0, 1), (0, 2)], [(0, 3)])
        other = ring.add(0, 4)
        assert ring.num_free == 0
        memory.use(head)
        ring.get_used()
        assert ring.num_free == 3
        memory.use(other)
        ring.get_used()
        assert ring.num_free == SIZE
        assert len(chain(memory, ring.add_chain([(0, 1)] * SIZE, []))) == SIZE


def test_a_buffer_for_which_there_is_no_room_leaves_no_trace(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.add(0, 4)
        with pytest.raises(GuestModelError, match="a ring of 4 is full"):
            ring.add_chain([(0, 1)] * SIZE, [])
        with pytest.raises(GuestModelError, match="without any piece"):
            ring.add_chain([], [])
        assert (ring.num_free, memory.avail[1]) == (SIZE - 1, 1)


def test_a_buffer_that_the_device_was_not_given_stops_the_driver(ram, memory):
    with closing(make_ring(ram)) as ring:
        head = ring.add_chain([(0, 1), (0, 2)], [])
        memory.use(chain(memory, head)[0].next)
        with pytest.raises(GuestModelError, match="which it was not given"):
            ring.get_used()


# Without a callback.


def test_a_queue_without_a_callback_asks_for_no_interrupt(ram, memory):
    with closing(make_ring(ram)) as ring:
        ring.disable_interrupts()
        assert memory.avail[0] == RingFlag.NO_INTERRUPT
        memory.use(ring.add(0, 4))
        assert ring.get_used() is not None
        assert memory.avail[0] == RingFlag.NO_INTERRUPT


def test_with_event_index_a_queue_without_a_callback_leaves_used_event_where_it_was(ram, memory):
    """2.7.7.1: the flags stay 0."""
    with closing(make_ring(ram, event_idx=True)) as ring:
        ring.disable_interrupts()
        memory.use(ring.add(0, 4))
        assert ring.get_used() is not None
        assert memory.avail[0] == memory.avail[GEOMETRY.used_event_word] == 0


# IN_ORDER.


@pytest.fixture
def in_order(ram):
    with closing(make_ring(ram)) as ring:
        ring.in_order = True
        yield ring


def test_in_order_descriptors_are_used_in_the_order_of_the_table(in_order, memory):
    """2.7.5.2."""
    expected = [0, 1, 3, 0, 1, 2]
    heads = []
    for pieces in (1, 2, 1, 1, 1, 2):
        heads.append(in_order.add_chain([(0, 4)] * pieces, []))
        memory.use(heads[-1])
        assert in_order.get_used() == heads[-1]
    assert heads == expected
    assert chain(memory, 2)[0].next == 3


def test_in_order_a_chain_goes_on_at_the_tables_beginning(in_order, memory):
    for _ in range(3):
        memory.use(in_order.add(0, 4))
        in_order.get_used()
    head = in_order.add_chain([(0, 4)] * 3, [])
    assert (head, memory.descriptor(3).next, memory.descriptor(0).next) == (3, 0, 1)


def test_in_order_one_used_element_stands_for_all_buffers_up_to_the_one_that_it_names(in_order, memory):
    """2.7.9: the element is where the batch begins, and the index goes on by the batch."""
    heads = [in_order.add(number, 4) for number in range(SIZE)]
    memory.use(heads[2])
    memory.used[1] = 3
    assert [in_order.get_used() for _ in range(4)] == [*heads[:3], None]
    assert in_order.num_free == 3
    slot = 2 + 4 * 3
    memory.used[slot], memory.used[1] = heads[3], 4
    assert [in_order.get_used() for _ in range(2)] == [heads[3], None]


def test_in_order_a_device_may_name_each_buffer_too(in_order, memory):
    for number in range(3 * SIZE):
        head = in_order.add(number, 4)
        memory.use(head)
        assert in_order.get_used() == head


def test_a_closed_ring_leaves_no_view_of_memory():
    ram = Ram(1 << 16)
    make_ring(ram).close()
    ram.close()
