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


def test_a_closed_ring_leaves_no_view_of_memory():
    ram = Ram(1 << 16)
    make_ring(ram).close()
    ram.close()
