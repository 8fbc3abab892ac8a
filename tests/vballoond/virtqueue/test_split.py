import pytest
from support.interleaving import interrupt
from support.raw_ring import AVAIL, DATA, INDIRECT, NEXT, TABLE, USED, WRITE, RawRing, raw_ring

from protocol.split_ring import Descriptor, RingFlag, SplitRingGeometry
from vballoond.errors import GuestError
from vballoond.virtqueue import split
from vballoond.virtqueue.chain import Buffer, Chain

both_ways = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event index"])
# The index before its wrap, at it, and where an element is stored in the middle of the ring.
positions = pytest.mark.parametrize("position", [0, 5, 0x7FFF, 0xFFFE, 0xFFFF])


def offer(ring: RawRing, *heads: int) -> None:
    """Offer chains of one descriptor, each with its head for a length."""
    for head in heads:
        ring.describe(head, DATA + 16 * head, head)
    ring.offer(*heads)


def test_nothing_is_taken_from_an_empty_ring():
    with raw_ring() as ring:
        assert ring.device.pop() is None
        assert ring.device.next_avail == 0


@positions
def test_buffers_are_taken_in_the_order_in_which_they_were_offered(position):
    with raw_ring(next_avail=position) as ring:
        offer(ring, 3, 0, 7)
        taken = [ring.device.pop() for _ in range(4)]

        assert taken == [Chain(head, (Buffer(DATA + 16 * head, head),), ()) for head in (3, 0, 7)] + [None]
        assert ring.device.next_avail == (position + 3) % 65536


@positions
def test_a_full_ring_is_taken_whole(position):
    with raw_ring(next_avail=position) as ring:
        offer(ring, *range(8))
        assert [ring.device.pop().head for _ in range(8)] == list(range(8))
        assert ring.device.pop() is None


def test_a_queue_of_one_is_served():
    with raw_ring(1) as ring:
        for position in range(3):
            offer(ring, 0)
            assert ring.device.pop().head == 0
            ring.device.push(0)
            assert ring.used_idx == position + 1


@positions
@pytest.mark.parametrize("ahead", [9, 4096, 0x8000, 0xFFFF])
def test_an_available_index_that_jumps_is_an_error(position, ahead):
    with raw_ring(next_avail=position) as ring:
        ring.avail_idx = position + ahead
        with pytest.raises(GuestError, match=f"the available index is {ahead} ahead in a queue of 8"):
            ring.device.pop()
        assert ring.device.next_avail == position


@pytest.mark.parametrize("head", [8, 9, 0xFFFF])
def test_a_head_out_of_range_is_an_error(head):
    with raw_ring() as ring:
        ring.offer(head)
        with pytest.raises(GuestError, match=f"head {head} in a queue of 8"):
            ring.device.pop()
        assert ring.device.next_avail == 0


def test_a_broken_chain_is_not_taken():
    with raw_ring() as ring:
        offer(ring, 1)
        ring.describe(2, DATA, 4, NEXT, 2)
        ring.offer(2)
        assert ring.device.pop().head == 1
        for _ in range(2):
            with pytest.raises(GuestError, match="it loops"):
                ring.device.pop()
            assert ring.device.next_avail == 1


def test_a_buffer_that_wraps_the_address_space_is_refused_when_it_is_read():
    with raw_ring() as ring:
        ring.describe(0, (1 << 64) - 4, 8)
        ring.offer(0)
        chain = ring.device.pop()
        with pytest.raises(GuestError, match="8 bytes at guest address 0xfffffffffffffffc"):
            chain.read(ring.memory, 8)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 6, 7])
def test_a_number_may_be_split_over_two_descriptors(cut):
    with raw_ring() as ring:
        ring.write(DATA, b"\x01\x02\x03\x04\x05\x06\x07\x08")
        ring.describe(4, DATA, cut, NEXT, 1)
        ring.describe(1, DATA + cut, 8 - cut)
        ring.offer(4)
        assert ring.device.pop().read(ring.memory, 8) == b"\x01\x02\x03\x04\x05\x06\x07\x08"


@pytest.mark.parametrize("negotiated", [True, False])
def test_an_indirect_table_is_followed_where_it_was_negotiated(negotiated):
    with raw_ring(indirect=negotiated) as ring:
        length = ring.indirect_table(DATA, Descriptor(0x10, 1, NEXT, 1), Descriptor(0x20, 2, WRITE, 0))
        ring.describe(0, DATA, length, INDIRECT)
        ring.offer(0)
        if negotiated:
            assert ring.device.pop() == Chain(0, (Buffer(0x10, 1),), (Buffer(0x20, 2),))
        else:
            with pytest.raises(GuestError, match="not negotiated"):
                ring.device.pop()


def test_a_buffer_that_was_given_back_is_taken_again():
    with raw_ring(next_avail=0xFFFF) as ring:
        offer(ring, 5)
        assert ring.device.pop().head == 5
        assert ring.device.next_avail == 0
        ring.device.unpop()
        assert ring.device.next_avail == 0xFFFF
        assert ring.device.pop().head == 5
        assert ring.device.pop() is None


@positions
def test_used_buffers_are_published_in_order_with_what_was_written(position):
    with raw_ring(next_avail=position) as ring:
        ring.device.push(3)
        assert ring.used_idx == (position + 1) % 65536
        ring.device.push(7, 0xFFFFFFFF)
        assert ring.used_idx == (position + 2) % 65536
        assert ring.used_element(position) == (3, 0)
        assert ring.used_element(position + 1) == (7, 0xFFFFFFFF)


def test_used_elements_go_round_the_ring_without_touching_what_is_behind_it():
    with raw_ring(4, next_avail=0xFFF0, event_idx=True) as ring:
        ring.avail_event = 0xABCD
        for number in range(40):
            ring.device.push(number, number + 1)
            position = (0xFFF0 + number) % 65536
            assert ring.used_idx == (position + 1) % 65536
            assert ring.used_element(position) == (number, number + 1)
        assert ring.avail_event == 0xABCD
        assert ring.used_flags == 0


def test_a_used_element_is_complete_before_its_index_is_published():
    step, came_in_between = 0, True
    published_at = []
    while came_in_between:
        with raw_ring() as ring:
            ring.used_elements[1] = ring.used_elements[2] = 0x5A5A5A5A

            def look(ring: RawRing = ring) -> None:
                published_at.append(ring.used_idx)
                assert ring.used_idx == 0 or ring.used_element(0) == (6, 12)

            _, came_in_between = interrupt(lambda: ring.device.push(6, 12), split.__name__, step, look)
        step += 1
    assert set(published_at) == {0, 1}


def test_the_driver_is_notified_of_every_batch_unless_it_says_otherwise():
    with raw_ring() as ring:
        assert not ring.device.should_notify()
        ring.device.push(0)
        ring.device.push(1)
        assert ring.device.should_notify()
        assert not ring.device.should_notify()
        ring.device.push(2)
        assert ring.device.should_notify()


def test_the_flag_of_the_driver_suppresses_notifications():
    with raw_ring() as ring:
        ring.set_avail_flags(RingFlag.NO_INTERRUPT)
        ring.device.push(0)
        assert not ring.device.should_notify()
        ring.set_avail_flags(0)
        ring.device.push(1)
        assert ring.device.should_notify()


def test_unknown_flags_of_the_driver_suppress_nothing():
    with raw_ring() as ring:
        ring.set_avail_flags(0xFFFE)
        ring.device.push(0)
        assert ring.device.should_notify()


def test_used_event_means_nothing_without_event_index():
    with raw_ring() as ring:
        ring.ask_for_interrupt_at(0x4000)
        ring.device.push(0)
        assert ring.device.should_notify()


def test_flags_mean_nothing_with_event_index():
    with raw_ring(event_idx=True) as ring:
        ring.set_avail_flags(RingFlag.NO_INTERRUPT)
        ring.device.push(0)
        assert ring.device.should_notify()


@positions
@pytest.mark.parametrize("batch", [1, 3])
def test_with_event_index_the_driver_is_notified_when_used_event_is_passed(position, batch):
    with raw_ring(next_avail=position, event_idx=True) as ring:
        notified = []
        ring.ask_for_interrupt_at((position + 4) % 65536)
        for _ in range(4):
            for _ in range(batch):
                ring.device.push(0)
            notified.append(ring.device.should_notify())
    # Element 4, counted from 0, is in the fifth batch of one and in the second of three.
    assert notified == ([False] * 4 if batch == 1 else [False, True, False, False])


@positions
def test_with_event_index_each_element_can_be_asked_for(position):
    with raw_ring(next_avail=position, event_idx=True) as ring:
        for number in range(5):
            ring.ask_for_interrupt_at((position + number) % 65536)
            ring.device.push(0)
            assert ring.device.should_notify()


def test_with_event_index_nothing_used_is_nothing_to_notify_of():
    with raw_ring(event_idx=True) as ring:
        for event in (0, 1, 0xFFFF):
            ring.ask_for_interrupt_at(event)
            assert not ring.device.should_notify()


@positions
def test_with_event_index_a_kick_is_asked_for_at_the_next_buffer(position):
    with raw_ring(next_avail=position, event_idx=True) as ring:
        ring.used_flags = 0
        assert not ring.device.enable_kicks()
        assert ring.avail_event == position
        offer(ring, 1)
        ring.device.pop()
        assert not ring.device.enable_kicks()
        assert ring.avail_event == (position + 1) % 65536
        assert ring.used_flags == 0


def test_without_event_index_kicks_are_asked_for_by_the_flags_alone():
    with raw_ring() as ring:
        ring.used_flags = RingFlag.NO_NOTIFY
        ring.avail_event = 0x1234
        assert not ring.device.enable_kicks()
        assert ring.used_flags == 0
        assert ring.avail_event == 0x1234


def test_with_event_index_the_flags_are_not_written():
    with raw_ring(event_idx=True) as ring:
        ring.used_flags = 0x5A5A
        ring.device.enable_kicks()
        assert ring.used_flags == 0x5A5A


@both_ways
def test_a_buffer_that_came_meanwhile_is_seen_when_kicks_are_asked_for(event_idx):
    with raw_ring(event_idx=event_idx) as ring:
        assert ring.device.pop() is None
        offer(ring, 2)
        assert ring.device.enable_kicks()
        assert ring.device.pop().head == 2
        assert not ring.device.enable_kicks()


def test_a_fresh_ring_begins_at_the_beginning():
    with raw_ring() as ring:
        assert ring.device.next_avail == 0


@positions
def test_a_ring_goes_on_where_another_device_stopped(position):
    with raw_ring(next_avail=position) as ring:
        offer(ring, 1, 2, 3)
        for head in (1, 2):
            assert ring.device.pop().head == head
            ring.device.push(head)
        went_to = ring.device.next_avail
        ring.device.close()
        ring.device = ring.open_device(next_avail=went_to)

        assert ring.device.pop().head == 3
        ring.device.push(3)
        assert ring.used_idx == (position + 3) % 65536
        assert [ring.used_element(position + n).id for n in range(3)] == [1, 2, 3]


def test_a_ring_goes_on_with_the_used_index_that_is_in_memory():
    # The device before held two buffers back, as it does with one of statistics.
    with raw_ring(next_avail=7) as ring:
        ring.used_idx = 5
        ring.device.close()
        ring.device = ring.open_device(next_avail=7)
        ring.device.push(3)
        assert ring.used_idx == 6
        assert ring.used_element(5).id == 3


def test_a_ring_that_goes_on_notifies_of_what_it_uses_itself():
    with raw_ring(next_avail=7, event_idx=True) as ring:
        ring.ask_for_interrupt_at(7)
        assert not ring.device.should_notify()
        ring.device.push(0)
        assert ring.device.should_notify()


def test_a_buffer_in_flight_is_served_again_by_the_next_device():
    with raw_ring(next_avail=0) as ring:
        offer(ring, 4, 5)
        ring.device.pop()
        ring.device.push(4)
        ring.device.pop()
        ring.device.unpop()
        went_to = ring.device.next_avail
        ring.device.close()
        ring.device = ring.open_device(next_avail=went_to)
        assert ring.device.pop().head == 5
        ring.device.push(5)
        assert [ring.used_element(n).id for n in range(2)] == [4, 5]


def test_a_closed_ring_leaves_no_view_of_memory():
    with raw_ring() as ring:
        geometry = SplitRingGeometry(8)
        views = [
            ring.memory.user_view(address, length)
            for address, length in (
                (TABLE, geometry.descriptor_table_bytes),
                (AVAIL, geometry.avail_ring_bytes),
                (USED, geometry.used_ring_bytes),
            )
        ]
        split.SplitRing(geometry, split.SplitRingParts(*views), ring.memory).close()
        for view in views:
            with pytest.raises(ValueError, match="released"):
                len(view)
