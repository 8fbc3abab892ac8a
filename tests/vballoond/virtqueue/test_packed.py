from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.interleaving import interrupt
from support.memory_files import guest_memory
from support.properties import examples

from protocol.packed_ring import (
    AVAILABLE_TURN,
    FRESH_BASE,
    PACKED_DESCRIPTOR,
    RING_START,
    TURN_MASK,
    USED_TURN,
    EventFlag,
    PackedDescriptor,
    PackedFlag,
    PackedRingGeometry,
    RingBase,
    RingPosition,
    decode_base,
    encode_base,
)
from vballoond.balloon.inflate import MAX_REQUEST_BYTES
from vballoond.errors import GuestError
from vballoond.memory.guest_memory import GuestMemory
from vballoond.virtqueue import packed
from vballoond.virtqueue.chain import MAX_DESCRIPTORS, Buffer, Chain
from vballoond.virtqueue.packed import PackedRing, PackedRingParts

NEXT, WRITE, INDIRECT, AVAIL, USED = PackedFlag
MEMORY_BYTES = 1 << 20
RING, DRIVER_EVENT, DEVICE_EVENT, DATA = 0x1000, 0x2000, 0x2004, 0x8000

both_ways = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event index"])
SIZE = 7
# The beginning, and where the ring wraps from either counter to the other.
bases = pytest.mark.parametrize(
    "start",
    [RING_START, RingPosition(3, 1), RingPosition(6, 1), RingPosition(0, 0), RingPosition(5, 0), RingPosition(6, 0)],
    ids=lambda start: f"{start.offset} wrap {start.wrap}",
)


def base_at(position: RingPosition, size: int = SIZE) -> int:
    return encode_base(RingBase(position, position, fresh=position == RING_START), size)


class RawPackedRing:
    """A ring of up to 256 entries written by hand, and the device that serves it."""

    def __init__(self, memory: GuestMemory, size: int, **options: Any) -> None:
        self.memory = memory
        self.geometry = PackedRingGeometry(size)
        self.ring = memory.user_view(RING, self.geometry.descriptor_ring_bytes)
        self.words = memory.user_view(RING, self.geometry.descriptor_ring_bytes).cast("H")
        self.driver_event = memory.user_view(DRIVER_EVENT, 4).cast("H")
        self.device_event = memory.user_view(DEVICE_EVENT, 4).cast("H")
        self.avail, self.used, _ = decode_base(options.get("next_avail", FRESH_BASE), size)
        for entry in range(size):
            # What the lap before left: used, so that nothing is available.
            position = self.avail.moved(entry, size)
            self.words[8 * position.offset + 7] = USED_TURN[1 - position.wrap]
        self.lengths: dict[int, int] = {}
        self.device = self.open_device(**options)

    def open_device(self, **options: Any) -> PackedRing:
        parts = PackedRingParts(
            self.memory.user_view(RING, self.geometry.descriptor_ring_bytes),
            self.memory.user_view(DRIVER_EVENT, 4),
            self.memory.user_view(DEVICE_EVENT, 4),
        )
        return PackedRing(self.geometry, parts, self.memory, **options)

    def write(self, address: int, data: bytes) -> int:
        with self.memory.user_view(address, len(data)) as view:
            view[:] = data
        return len(data)

    def describe(self, offset: int, descriptor: PackedDescriptor) -> None:
        """Write a descriptor, whole."""
        PACKED_DESCRIPTOR.pack_into(self.ring, offset * PACKED_DESCRIPTOR.size, descriptor)

    def offer(self, buffer_id: int, *elements: tuple[int, ...]) -> None:
        """Make a list of (address, length, flags) available; its first descriptor last."""
        size, count = self.geometry.queue_size, len(elements)
        for number in reversed(range(count)):
            at = self.avail.moved(number, size)
            address, length, *flags = elements[number]
            linked = (NEXT if number < count - 1 else 0) | AVAILABLE_TURN[at.wrap]
            name = buffer_id if number == count - 1 else 0xBAD
            self.describe(at.offset, PackedDescriptor(address, length, name, sum(flags) | linked))
        self.lengths[buffer_id] = count
        self.avail = self.avail.moved(count, size)

    def reap(self) -> tuple[int, int | None] | None:
        """Take back a used buffer: its id, and what was written where that is valid."""
        offset, wrap = self.used
        flags = self.words[8 * offset + 7]
        if flags & TURN_MASK != USED_TURN[wrap]:
            return None
        used = self.descriptor(offset)
        self.used = self.used.moved(self.lengths.pop(used.id), self.geometry.queue_size)
        return used.id, used.len if flags & WRITE else None

    def descriptor(self, offset: int) -> PackedDescriptor:
        return PACKED_DESCRIPTOR.unpack_from(self.ring, offset * PACKED_DESCRIPTOR.size)

    def close(self) -> None:
        self.device.close()
        for view in (self.ring, self.words, self.driver_event, self.device_event):
            view.release()


@contextmanager
def raw_ring(size: int = SIZE, *, start: RingPosition = RING_START, **options: Any) -> Iterator[RawPackedRing]:
    with guest_memory((0, MEMORY_BYTES)) as memory:
        ring = RawPackedRing(memory, size, next_avail=base_at(start, size), **options)
        try:
            yield ring
        finally:
            ring.close()


def offer(ring: RawPackedRing, *ids: int) -> None:
    """Offer buffers of one descriptor, each with its id for a length."""
    for buffer_id in ids:
        ring.offer(buffer_id, (DATA + 16 * buffer_id, buffer_id))


def refused(ring: RawPackedRing, message: str) -> None:
    """Expect the next buffer to be refused, every time, and to stay where it is."""
    before = ring.device.next_avail
    for _ in range(2):
        with pytest.raises(GuestError, match=message):
            ring.device.pop()
        assert ring.device.next_avail == before


@bases
def test_nothing_is_taken_from_an_empty_ring(start):
    with raw_ring(start=start) as ring:
        assert ring.device.pop() is None
        assert ring.device.next_avail == base_at(start)


def test_a_ring_of_zeros_is_empty():
    with raw_ring() as ring:
        ring.write(RING, bytes(16 * SIZE))
        assert ring.device.pop() is None


@bases
def test_buffers_are_taken_in_the_order_in_which_they_were_offered(start):
    with raw_ring(start=start) as ring:
        offer(ring, 3, 0, 6)
        taken = [ring.device.pop() for _ in range(4)]
        assert taken == [Chain(head, (Buffer(DATA + 16 * head, head),), ()) for head in (3, 0, 6)] + [None]


@bases
def test_a_full_ring_is_taken_whole_and_once(start):
    with raw_ring(start=start) as ring:
        offer(ring, *range(SIZE))
        assert [ring.device.pop().head for _ in range(SIZE)] == list(range(SIZE))
        assert ring.device.pop() is None
        assert not ring.device.enable_kicks()


@bases
def test_only_the_turn_of_this_lap_makes_a_descriptor_available(start):
    with raw_ring(start=start) as ring:
        for flags in (0, AVAIL, USED, AVAIL | USED):
            ring.describe(start.offset, PackedDescriptor(DATA, 4, 1, flags))
            available = flags == (AVAIL if start.wrap else USED)
            assert (ring.device.pop() is not None) == available
            if available:
                ring.device.unpop()


@bases
@pytest.mark.parametrize("length", [1, 2, 4, SIZE])
def test_a_list_is_one_buffer_named_by_its_last_descriptor(start, length):
    with raw_ring(start=start) as ring:
        ring.offer(5, *[(0x100 * n, n, WRITE * (n > 1)) for n in range(length)])
        chain = ring.device.pop()
        assert chain.head == 5
        assert chain.readable == tuple(Buffer(0x100 * n, n) for n in range(min(length, 2)))
        assert chain.writable == tuple(Buffer(0x100 * n, n) for n in range(2, length))
        assert ring.device.pop() is None


@bases
def test_one_used_descriptor_returns_a_list_and_the_next_one_is_behind_it(start):
    with raw_ring(start=start) as ring:
        ring.offer(2, (0, 1), (0, 2), (0, 3))
        ring.offer(6, (0, 4), (0, 5))
        untouched = [ring.descriptor(start.moved(n, SIZE).offset) for n in (1, 2, 4)]
        for head in (2, 6):
            assert ring.device.pop().head == head
            ring.device.push(head)
        assert [ring.reap(), ring.reap(), ring.reap()] == [(2, None), (6, None), None]
        assert [ring.descriptor(start.moved(n, SIZE).offset) for n in (1, 2, 4)] == untouched
        assert ring.device.next_avail == encode_base(RingBase(ring.avail, ring.used, fresh=False), SIZE)


def test_lists_that_complete_out_of_order_are_returned_in_the_order_of_their_completion():
    with raw_ring() as ring:
        ring.offer(0, (0, 1), (0, 2))
        ring.offer(1, (0, 3))
        ring.offer(2, (0, 4), (0, 5), (0, 6))
        heads = [ring.device.pop().head for _ in range(3)]
        for head in reversed(heads):
            ring.device.push(head)
        assert [ring.reap() for _ in range(4)] == [(2, None), (1, None), (0, None), None]


@bases
def test_a_used_descriptor_says_how_much_was_written_only_where_something_was(start):
    with raw_ring(start=start) as ring:
        offer(ring, 1, 2)
        assert (ring.device.pop().head, ring.device.pop().head) == (1, 2)
        ring.device.push(1)
        ring.device.push(2, 0xFFFFFFFF)
        first, second = (ring.descriptor(start.moved(n, SIZE).offset) for n in (0, 1))
        assert (first.id, first.flags) == (1, USED_TURN[start.wrap])
        assert (second.id, second.len) == (2, 0xFFFFFFFF)
        assert second.flags == USED_TURN[start.moved(1, SIZE).wrap] | WRITE


def test_a_list_may_not_go_on_where_no_descriptor_is_available():
    with raw_ring() as ring:
        ring.offer(1, (0, 4), (0, 4), (0, 4))
        ring.words[8 * 2 + 7] = USED
        refused(ring, "descriptor 2, number 2 of a list, is not available")


@pytest.mark.parametrize("size", [1, 2, SIZE])
def test_a_list_that_goes_on_over_a_whole_lap_is_refused(size):
    with raw_ring(size) as ring:
        for offset in range(size):
            ring.describe(offset, PackedDescriptor(0, 4, 0, AVAIL | NEXT))
        refused(ring, f"a list from descriptor 0 has more than {size} descriptors")


def test_a_list_longer_than_any_driver_sends_is_refused():
    size = 2 * MAX_DESCRIPTORS
    with guest_memory((0, MEMORY_BYTES)) as memory, memory.user_view(DATA, 16 * size) as view:
        view[:] = PACKED_DESCRIPTOR.pack(PackedDescriptor(0, 4, 0, AVAIL | NEXT)) * size
        geometry = PackedRingGeometry(size)
        parts = [memory.user_view(address, length) for address, length in ((DATA, 16 * size), (0, 4), (4, 4))]
        device = PackedRing(geometry, PackedRingParts(*parts), memory)
        with pytest.raises(GuestError, match=f"more than {MAX_DESCRIPTORS} descriptors"):
            device.pop()
        device.close()


@pytest.mark.parametrize("buffer_id", [SIZE, SIZE + 1, 0xFFFF])
def test_an_id_out_of_range_is_refused(buffer_id):
    with raw_ring() as ring:
        ring.offer(buffer_id, (0, 4))
        refused(ring, f"buffer id {buffer_id} in a queue of 7")


def test_an_id_that_is_in_flight_is_refused_and_is_welcome_again_when_it_came_back():
    with raw_ring() as ring:
        offer(ring, 4, 4)
        assert ring.device.pop().head == 4
        refused(ring, "buffer id 4 was made available again before it was used")
        ring.device.push(4)
        assert ring.device.pop().head == 4


def test_more_descriptors_in_flight_than_the_queue_has_are_refused():
    with raw_ring() as ring:
        ring.offer(0, (0, 1), (0, 2), (0, 3))
        ring.offer(1, (0, 1), (0, 2), (0, 3))
        assert (ring.device.pop().head, ring.device.pop().head) == (0, 1)
        ring.offer(2, (0, 1), (0, 2))
        refused(ring, "8 descriptors in flight in a queue of 7")


def test_a_readable_element_behind_a_writable_one_is_refused():
    with raw_ring() as ring:
        ring.offer(3, (0, 4, WRITE), (0, 4))
        refused(ring, "buffer 3 has a readable descriptor behind a writable one")


def test_unknown_flags_are_ignored():
    with raw_ring() as ring:
        ring.offer(3, (1, 1, 0x7F78), (2, 2, 0x7F78 | WRITE))
        assert ring.device.pop() == Chain(3, (Buffer(1, 1),), (Buffer(2, 2),))


def indirect_table(ring: RawPackedRing, *inner: tuple[int, int, int]) -> int:
    return ring.write(DATA, b"".join(PACKED_DESCRIPTOR.pack(PackedDescriptor(a, n, 0xBAD, f)) for a, n, f in inner))


@pytest.mark.parametrize("outer", [INDIRECT, INDIRECT | WRITE])
def test_an_indirect_table_is_read_from_first_to_last_whatever_its_other_flags(outer):
    with raw_ring(indirect=True) as ring:
        length = indirect_table(ring, (0x10, 1, 0), (0x20, 2, NEXT | AVAIL), (0x30, 3, WRITE | USED), (0x40, 4, WRITE))
        ring.offer(2, (DATA, length, outer))
        offer(ring, 1)
        readable, writable = (Buffer(0x10, 1), Buffer(0x20, 2)), (Buffer(0x30, 3), Buffer(0x40, 4))
        assert ring.device.pop() == Chain(2, readable, writable)
        assert ring.device.pop().head == 1


def test_an_indirect_descriptor_that_was_not_negotiated_is_refused():
    with raw_ring() as ring:
        ring.offer(0, (DATA, 16, INDIRECT))
        refused(ring, "INDIRECT_DESC was not negotiated")


@pytest.mark.parametrize("at", [0, 1])
def test_an_indirect_descriptor_is_a_list_by_itself(at):
    with raw_ring(indirect=True) as ring:
        elements = [(DATA, 16), (DATA, 16)]
        elements[at] += (INDIRECT,)
        ring.offer(0, *elements)
        refused(ring, "an indirect descriptor in a list of 2")


@pytest.mark.parametrize("length", [0, 1, 15, 17, 24, 16 * MAX_DESCRIPTORS + 16, 0xFFFFFFF0])
def test_an_indirect_table_of_a_wrong_length_is_refused(length):
    with raw_ring(indirect=True) as ring:
        ring.offer(0, (DATA, length, INDIRECT))
        refused(ring, f"an indirect table of {length} bytes")


def test_an_indirect_table_may_be_longer_than_its_queue():
    with raw_ring(indirect=True) as ring:
        length = indirect_table(ring, *[(n, 1, 0) for n in range(MAX_DESCRIPTORS)])
        ring.offer(0, (DATA, length, INDIRECT))
        assert ring.device.pop().readable == tuple(Buffer(n, 1) for n in range(MAX_DESCRIPTORS))


def test_indirect_tables_do_not_nest():
    with raw_ring(indirect=True) as ring:
        ring.offer(0, (DATA, indirect_table(ring, (0, 4, 0), (DATA, 16, INDIRECT)), INDIRECT))
        refused(ring, "an indirect table holds an indirect descriptor")


def test_an_indirect_table_that_is_not_in_memory_is_refused():
    with raw_ring(indirect=True) as ring:
        ring.offer(0, (MEMORY_BYTES - 8, 16, INDIRECT))
        refused(ring, f"16 bytes at guest address {MEMORY_BYTES - 8:#x}")


@bases
def test_lists_that_were_given_back_are_taken_again(start):
    with raw_ring(start=start) as ring:
        ring.offer(4, (0, 1), (0, 2))
        ring.offer(2, (0, 3), (0, 4), (0, 5))
        chains = [ring.device.pop(), ring.device.pop()]
        ring.device.unpop()
        assert ring.device.pop() == chains[1]
        ring.device.unpop()
        ring.device.unpop()
        assert ring.device.next_avail == base_at(start)
        assert [ring.device.pop(), ring.device.pop(), ring.device.pop()] == [*chains, None]
        for chain in chains:
            ring.device.push(chain.head)
        assert [ring.reap(), ring.reap()] == [(4, None), (2, None)]


def test_the_last_buffer_can_be_given_back_when_one_before_it_was_returned():
    with raw_ring(start=RingPosition(6, 0)) as ring:
        offer(ring, 1, 2)
        ring.device.pop()
        ring.device.pop()
        ring.device.push(1)
        ring.device.unpop()
        assert decode_base(ring.device.next_avail, SIZE) == RingBase(RING_START, RING_START, fresh=False)
        assert ring.device.pop().head == 2


def test_a_used_descriptor_is_complete_before_its_flags_publish_it():
    step, came_in_between = 0, True
    published = []
    while came_in_between:
        with raw_ring() as ring:
            ring.offer(6, (0, 1), (0, 2))  # the id is in the second one
            ring.device.pop()

            def look(ring: RawPackedRing = ring) -> None:
                used = ring.descriptor(0)
                published.append(used.flags)
                assert used.flags == AVAIL | NEXT or (used.id, used.len) == (6, 12)

            _, came_in_between = interrupt(lambda: ring.device.push(6, 12), packed.__name__, step, look)
        step += 1
    assert set(published) == {AVAIL | NEXT, AVAIL | USED | WRITE}


def test_flags_are_looked_at_before_the_rest_and_never_again():
    """A driver that rewrites a descriptor while it is read sees it taken as it was then, or not at all."""
    step, came_in_between = 0, True
    outcomes = set()
    while came_in_between:
        with raw_ring() as ring:
            ring.describe(0, PackedDescriptor(0x100, 1, 5, 0))

            def publish(ring: RawPackedRing = ring) -> None:
                ring.describe(0, PackedDescriptor(0x200, 2, 3, AVAIL | WRITE))

            chain, came_in_between = interrupt(ring.device.pop, packed.__name__, step, publish)
        outcomes.add(chain)
        step += 1
    assert outcomes == {None, Chain(3, (), (Buffer(0x200, 2),))}

    step, came_in_between = 0, True
    outcomes.clear()
    while came_in_between:
        with raw_ring() as ring:
            offer(ring, 5)

            def poison(ring: RawPackedRing = ring) -> None:
                ring.words[7] = NEXT | WRITE | INDIRECT

            chain, came_in_between = interrupt(ring.device.pop, packed.__name__, step, poison)
        outcomes.add(chain)
        step += 1
    assert outcomes == {None, Chain(5, (Buffer(DATA + 80, 5),), ())}


def ask_for_interrupts(ring: RawPackedRing, flags: int, off_wrap: int = 0) -> None:
    ring.driver_event[0], ring.driver_event[1] = off_wrap, flags


def use(ring: RawPackedRing, *ids: int) -> bool:
    """Have buffers go through the ring; say whether the driver is notified of them."""
    for buffer_id in ids:
        offer(ring, buffer_id)
        ring.device.push(ring.device.pop().head)
    return ring.device.should_notify()


@both_ways
def test_the_driver_is_notified_of_every_batch_unless_it_says_otherwise(event_idx):
    with raw_ring(event_idx=event_idx) as ring:
        assert not ring.device.should_notify()
        assert use(ring, 0, 1)
        assert not ring.device.should_notify()
        assert use(ring, 2)
        ask_for_interrupts(ring, EventFlag.DISABLE)
        assert not use(ring, 3)
        ask_for_interrupts(ring, EventFlag.ENABLE)
        assert not ring.device.should_notify()
        assert use(ring, 4)


@both_ways
def test_reserved_bits_of_the_driver_change_nothing(event_idx):
    with raw_ring(event_idx=event_idx) as ring:
        ask_for_interrupts(ring, 0xFFFC)
        assert use(ring, 0)
        ask_for_interrupts(ring, 0xFFFC | EventFlag.DISABLE)
        assert not use(ring, 1)


def test_what_a_driver_must_not_ask_for_gets_it_notified():
    with raw_ring() as ring:
        ask_for_interrupts(ring, EventFlag.DESC, 0x8005)
        assert use(ring, 0)
    with raw_ring(event_idx=True) as ring:
        ask_for_interrupts(ring, 3, 0x8005)
        assert use(ring, 0)
        ask_for_interrupts(ring, EventFlag.DESC, SIZE)
        assert use(ring, 1)


@bases
@pytest.mark.parametrize("batch", [1, 3])
def test_with_event_index_the_driver_is_notified_when_its_descriptor_is_passed(start, batch):
    with raw_ring(start=start, event_idx=True) as ring:
        ask_for_interrupts(ring, EventFlag.DESC, start.moved(4, SIZE).word)
        notified = [use(ring, *range(batch)) for _ in range(3 if batch > 1 else 7)]
    # Descriptor 4, counted from 0, is in the fifth batch of one and in the second of three.
    assert notified == ([False, True, False] if batch > 1 else [False] * 4 + [True] + [False] * 2)


@bases
def test_with_event_index_a_list_is_passed_whole(start):
    with raw_ring(start=start, event_idx=True) as ring:
        for asked, due in ((-1, False), (0, True), (2, True), (3, False)):
            ask_for_interrupts(ring, EventFlag.DESC, ring.avail.moved(asked, SIZE).word)
            ring.offer(1, (0, 1), (0, 2), (0, 3))
            ring.device.push(ring.device.pop().head)
            assert ring.device.should_notify() == due


def test_with_event_index_nothing_used_is_nothing_to_notify_of():
    with raw_ring(event_idx=True) as ring:
        for event in (0x8000, 0x8006, 0, 6, SIZE):
            ask_for_interrupts(ring, EventFlag.DESC, event)
            assert not ring.device.should_notify()


@bases
def test_with_event_index_a_kick_is_asked_for_at_the_next_buffer(start):
    with raw_ring(start=start, event_idx=True) as ring:
        for taken in range(SIZE):
            assert not ring.device.enable_kicks()
            assert tuple(ring.device_event) == (start.moved(taken, SIZE).word, EventFlag.DESC)
            offer(ring, taken)
            assert ring.device.enable_kicks()
            ring.device.pop()


def test_without_event_index_kicks_are_asked_for_by_the_flags_alone():
    with raw_ring() as ring:
        ring.device_event[0], ring.device_event[1] = 0x1234, EventFlag.DISABLE
        assert not ring.device.enable_kicks()
        assert tuple(ring.device_event) == (0x1234, EventFlag.ENABLE)


def test_with_event_index_the_descriptor_is_named_before_the_flags_say_so():
    step, came_in_between = 0, True
    seen = set()
    while came_in_between:
        with raw_ring(start=RingPosition(5, 1), event_idx=True) as ring:

            def look(ring: RawPackedRing = ring) -> None:
                seen.add(tuple(ring.device_event))

            _, came_in_between = interrupt(ring.device.enable_kicks, packed.__name__, step, look)
        step += 1
    assert seen == {(0, 0), (0x8005, 0), (0x8005, EventFlag.DESC)}


@both_ways
def test_a_barrier_stands_between_asking_for_kicks_and_looking_again(event_idx, monkeypatch):
    with raw_ring(event_idx=event_idx) as ring:
        ring.device_event[1] = EventFlag.DISABLE
        asked = []

        def barrier() -> None:
            asked.append(ring.device_event[1])
            offer(ring, 3)

        monkeypatch.setattr(packed, "full_barrier", barrier)
        assert ring.device.enable_kicks()
        assert asked == [EventFlag.DESC if event_idx else EventFlag.ENABLE]


@both_ways
def test_a_barrier_stands_between_returning_a_buffer_and_looking_what_the_driver_wants(event_idx, monkeypatch):
    with raw_ring(event_idx=event_idx) as ring:
        ask_for_interrupts(ring, EventFlag.DISABLE)
        monkeypatch.setattr(packed, "full_barrier", lambda: ask_for_interrupts(ring, EventFlag.DESC, 0x8000))
        assert use(ring, 3)


@bases
def test_a_ring_goes_on_where_another_device_stopped(start):
    with raw_ring(start=start) as ring:
        ring.offer(1, (0, 1), (0, 2))
        offer(ring, 2, 3)
        for _ in range(2):
            ring.device.push(ring.device.pop().head)
        went_to = ring.device.next_avail
        ring.device.close()
        ring.device = ring.open_device(next_avail=went_to)
        assert ring.device.next_avail == went_to
        assert ring.device.pop().head == 3
        ring.device.push(3)
        assert [ring.reap() for _ in range(4)] == [(1, None), (2, None), (3, None), None]


def test_a_ring_that_went_round_does_not_go_on_as_a_fresh_one():
    with raw_ring(3) as ring:
        said = [ring.device.next_avail]
        for _ in range(4 * 3):
            use(ring, 0)
            said.append(ring.device.next_avail)
    assert said[0] == FRESH_BASE
    assert not {0, FRESH_BASE} & set(said[1:])
    assert said[6] == said[12]
    assert decode_base(said[6], 3)[:2] == (RING_START, RING_START)


def test_a_fresh_ring_stays_fresh_until_a_buffer_was_returned():
    with raw_ring() as ring:
        offer(ring, 1)
        ring.device.pop()
        ring.device.unpop()
        assert ring.device.next_avail == FRESH_BASE


@pytest.mark.parametrize("options", [{}, {"next_avail": 0}, {"next_avail": FRESH_BASE}])
def test_a_fresh_ring_is_one_without_a_base_or_with_0_or_with_the_one_of_the_specification(options):
    with guest_memory((0, MEMORY_BYTES)) as memory:
        ring = RawPackedRing(memory, SIZE, **options)
        assert ring.device.next_avail == FRESH_BASE
        offer(ring, 1)
        assert ring.device.pop().head == 1
        ring.close()


def test_descriptors_that_another_device_had_in_flight_stay_so():
    base = encode_base(RingBase(RingPosition(5, 1), RingPosition(2, 1), fresh=False), SIZE)
    with guest_memory((0, MEMORY_BYTES)) as memory:
        ring = RawPackedRing(memory, SIZE, next_avail=base)
        assert ring.device.next_avail == base
        ring.offer(1, *[(0, 4)] * 5)
        refused(ring, "8 descriptors in flight in a queue of 7")
        ring.close()


def test_a_ring_that_cannot_go_on_from_its_base_leaves_no_view_of_memory():
    with guest_memory((0, MEMORY_BYTES)) as memory:
        views = [memory.user_view(RING, 16 * SIZE), memory.user_view(0, 4), memory.user_view(4, 4)]
        with pytest.raises(ValueError, match="position 0xffffffff is not in a packed ring of 7"):
            PackedRing(PackedRingGeometry(SIZE), PackedRingParts(*views), memory, next_avail=0xFFFFFFFF)
        for view in views:
            with pytest.raises(ValueError, match="released"):
                len(view)


def test_a_closed_ring_leaves_no_view_of_memory():
    with guest_memory((0, MEMORY_BYTES)) as memory:
        views = [memory.user_view(RING, 16 * SIZE), memory.user_view(0, 4), memory.user_view(4, 4)]
        PackedRing(PackedRingGeometry(SIZE), PackedRingParts(*views), memory).close()
        for view in views:
            with pytest.raises(ValueError, match="released"):
                len(view)


@pytest.fixture(scope="module")
def memory():
    with guest_memory((0, MEMORY_BYTES)) as mapped:
        yield mapped


def fresh_raw_ring(memory: GuestMemory, size: int, **options: Any) -> RawPackedRing:
    with memory.user_view(0, DATA + 0x1000) as view:
        view[:] = bytes(len(view))
    return RawPackedRing(memory, size, **options)


class Lists:
    """A driver that offers lists of any length, and a device that returns them in any order."""

    def __init__(self, ring: RawPackedRing, random: Random) -> None:
        self.ring, self.random, self.size = ring, random, ring.geometry.queue_size
        self.free = list(range(self.size))
        self.offered: list[Chain] = []
        self.waiting: list[Chain] = []
        self.in_flight: list[Chain] = []
        self.returned: list[tuple[int, int | None]] = []

    def offer(self) -> None:
        room = self.size - sum(self.ring.lengths.values())
        if room:
            length = self.random.randint(1, min(room, self.random.choice((1, 2, self.size))))
            head = self.free.pop(self.random.randrange(len(self.free)))
            readable = self.random.randint(0, length)
            elements = [(self.random.getrandbits(64), self.random.getrandbits(32)) for _ in range(length)]
            self.ring.offer(head, *[(*e, WRITE * (n >= readable)) for n, e in enumerate(elements)])
            buffers = tuple(Buffer(*element) for element in elements)
            self.waiting.append(Chain(head, buffers[:readable], buffers[readable:]))

    def pop(self) -> None:
        chain = self.ring.device.pop()
        assert chain == (self.waiting.pop(0) if self.waiting else None)
        if chain is not None:
            self.in_flight.append(chain)

    def unpop(self) -> None:
        """Give back the last buffer that was taken, if it was not returned yet."""
        if self.in_flight and self.in_flight[-1] is not None:
            self.ring.device.unpop()
            self.waiting.insert(0, self.in_flight.pop())

    def push(self) -> None:
        choices = [number for number, chain in enumerate(self.in_flight) if chain is not None]
        if choices:
            number = self.random.choice(choices)
            chain, self.in_flight[number] = self.in_flight[number], None
            written = self.random.choice((0, 1, 0xFFFFFFFF))
            self.ring.device.push(chain.head, written)
            self.returned.append((chain.head, written or None))

    def reap(self) -> None:
        found = self.ring.reap()
        assert found == (self.returned.pop(0) if self.returned else None)
        if found is not None:
            self.free.append(found[0])

    def restart(self) -> None:
        """Have another device go on; what is in flight must have been returned."""
        if not any(self.in_flight):
            went_to = self.ring.device.next_avail
            self.ring.device.close()
            self.ring.device = self.ring.open_device(next_avail=went_to)
            self.in_flight.clear()


STEPS = (Lists.offer, Lists.offer, Lists.pop, Lists.pop, Lists.push, Lists.push, Lists.reap, Lists.reap)


@examples(150)
@given(seed=st.integers(0, (1 << 32) - 1), size=st.sampled_from([1, 2, 3, 5, 7, 16, 128]))
def test_every_list_is_taken_whole_and_comes_back_once_however_often_the_ring_wraps(memory, seed, size):
    random = Random(seed)
    ring = fresh_raw_ring(memory, size)
    try:
        lists = Lists(ring, random)
        for _ in range(400):
            random.choice((*STEPS, Lists.unpop, Lists.restart))(lists)
        while lists.waiting or any(lists.in_flight) or lists.returned:
            lists.pop()
            lists.push()
            lists.reap()
        assert ring.reap() is None
        assert sorted(lists.free) == list(range(size))
        assert decode_base(ring.device.next_avail, size)[:2] == (ring.avail, ring.used)
    finally:
        ring.close()


_EDGES = (0, RING, DRIVER_EVENT, MEMORY_BYTES - 16, MEMORY_BYTES - 1, MEMORY_BYTES, (1 << 64) - 16, (1 << 64) - 1)
_ADDRESSES = (*[DATA] * 8, DATA + 8, DATA + 32, *_EDGES)
_LENGTHS = (16, 32, 32, 48, 64, 128, 0, 1, 4, 24, 16 * MAX_DESCRIPTORS, MAX_REQUEST_BYTES, 0xFFFFFFFF)
_FLAGS = (0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7)


class Scene(NamedTuple):
    """The bytes of a ring, and what is stored over them."""

    size: int
    options: dict[str, Any]
    ring: bytes
    table: bytes
    events: bytes
    stores: list[tuple[int, bytes]]


def _scene(seed: int) -> Scene:
    """A ring that is right for the most part, and any bytes stored over any part of it."""
    random = Random(seed)
    size = random.choice((1, 2, 3, 8, 13))
    start = RingPosition(random.randrange(size), random.randrange(2))

    def some(usual: Any, bits: int) -> int:
        return random.choice(usual) if random.random() < 0.95 else random.getrandbits(bits)

    def descriptors(count: int) -> list[PackedDescriptor]:
        return [PackedDescriptor(some(_ADDRESSES, 64), some(_LENGTHS, 32), 0, some(_FLAGS, 16)) for _ in range(count)]

    ids = random.sample(range(size), size)
    ring = [
        described._replace(
            id=some(ids[offset : offset + 1], 16),
            flags=some([described.flags | AVAILABLE_TURN[start.wrap ^ (offset < start.offset)]], 16),
        )
        for offset, described in enumerate(descriptors(size))
    ]
    parts = (RING, DRIVER_EVENT, DATA)
    return Scene(
        size,
        {
            "next_avail": base_at(start, size),
            "event_idx": random.random() < 0.5,
            "indirect": random.random() < 0.8,
        },
        b"".join(map(PACKED_DESCRIPTOR.pack, ring)),
        b"".join(map(PACKED_DESCRIPTOR.pack, descriptors(8))),
        random.choice((bytes(4), b"\0\x80\x02\0", random.randbytes(4))),
        [
            (random.choice(parts) + random.randrange(16 * size), random.randbytes(random.randint(1, 16)))
            for _ in range(random.choice((0, 0, 1, 4, 20)))
        ],
    )


SCENES = st.integers(0, (1 << 64) - 1).map(_scene)


def _set(memory: GuestMemory, scene: Scene) -> RawPackedRing:
    raw = fresh_raw_ring(memory, scene.size, **scene.options)
    raw.write(RING, scene.ring)
    raw.write(DATA, scene.table)
    raw.write(DRIVER_EVENT, scene.events)
    return raw


def _serve(raw: RawPackedRing) -> Any:
    """Take a buffer, read it and return it, as the service does. Nothing but a GuestError may be raised."""
    try:
        chain = raw.device.pop()
        if chain is not None:
            assert len(chain.readable) + len(chain.writable) <= max(raw.geometry.queue_size, MAX_DESCRIPTORS)
            assert chain.head < raw.geometry.queue_size
            try:
                chain.read(raw.memory, MAX_REQUEST_BYTES)
            except GuestError:
                raw.device.unpop()
                raise
            raw.device.push(chain.head)
            raw.device.should_notify()
    except GuestError as error:
        return str(error)
    return chain


@examples(1500)
@given(scene=SCENES)
def test_whatever_bytes_are_in_ring_memory_a_bounded_number_of_pops_ends(memory, scene):
    raw = _set(memory, scene)
    try:
        for address, content in scene.stores:
            raw.write(address, content)
        outcomes = [_serve(raw) for _ in range(scene.size + 1)]
        assert not isinstance(outcomes[-1], Chain)
        assert raw.device.enable_kicks() == (outcomes[-1] is not None)
    finally:
        raw.close()


@examples(400)
@given(scene=SCENES)
def test_a_driver_that_changes_the_ring_while_it_is_served_sees_no_other_end(memory, scene):
    raw = _set(memory, scene)
    try:
        for address, content in scene.stores * 3:
            _serve(raw)
            raw.write(address, content)
            assert raw.device.enable_kicks() in {True, False}
            decode_base(raw.device.next_avail, scene.size)
    finally:
        raw.close()


@examples(400)
@given(scene=SCENES)
def test_buffers_that_are_never_returned_end_too(memory, scene):
    raw = _set(memory, scene)
    try:
        taken = 0
        for address, content in [(RING, b""), *scene.stores] * 2:
            try:
                while raw.device.pop() is not None:
                    taken += 1
            except GuestError:
                pass
            raw.write(address, content)
        assert taken <= scene.size
        for _ in range(taken):
            raw.device.unpop()
        assert raw.device.next_avail == scene.options["next_avail"]
    finally:
        raw.close()


@examples(400)
@given(content=st.binary(max_size=4096), size=st.sampled_from([1, 2, 3, 8, 13]), indirect=st.booleans())
def test_bytes_without_any_sense_are_a_guest_error_or_a_buffer_at_most(memory, content, size, indirect):
    raw = fresh_raw_ring(memory, size, indirect=indirect)
    try:
        for part in (RING, DRIVER_EVENT, DATA):
            raw.write(part, content[part % 7 :])
        assert all(isinstance(_serve(raw), str | Chain | None) for _ in range(size + 1))
    finally:
        raw.close()
