"""Rings on which IN_ORDER was negotiated, in both formats: sections 2.7.9 and 2.8.8."""

import asyncio
from contextlib import closing

import pytest
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS, driven
from support.packed_by_hand import packed_by_hand
from support.raw_ring import DATA, raw_ring

from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import make_ring
from protocol.packed_ring import (
    DESCRIPTOR_WORDS,
    FLAGS_WORD,
    PACKED_DESCRIPTOR,
    USED_TURN,
    PackedDescriptor,
)
from protocol.shared_words import words16
from protocol.split_ring import DESCRIPTOR, IDX_WORD, USED_ELEMENT, USED_RING_WORD32, UsedElement
from protocol.virtio import RingFeature
from vballoond.offload import Offload

SIZE = 8
IN_ORDER = WITH_STATS | RingFeature.IN_ORDER
PACKED = IN_ORDER | RingFeature.RING_PACKED

both_formats = pytest.mark.parametrize(
    ("ring", "features"), [("split", IN_ORDER), ("packed", PACKED)], ids=["split", "packed"]
)


class SlowOffload(Offload):
    """What takes long takes a second of virtual time."""

    async def run(self, call, *args, **kwargs):
        await asyncio.sleep(1)
        return call(*args, **kwargs)


# The device.


@pytest.mark.clause(85, "2.7.9", "with IN_ORDER MUST use buffers in the order in which they were made available")
@pytest.mark.clause(86, "2.8.8", "with IN_ORDER MUST use buffers in the order in which they were made available")
@both_formats
async def test_no_request_overtakes_one_that_takes_longer(ring, features):
    async with driven(ring=ring, offload=SlowOffload()) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=features)
        first = driver.guest.first_free_pfn()
        scattered = pfns(range(first, first + 512, 2))  # more ranges than are given back inline
        heads = [driver.request(INFLATE, data) for data in (scattered, pfns([first + 1]), scattered, b"")]
        await settled(service)
        assert asyncio.get_running_loop().time() >= 1
        assert [driver.used(INFLATE) for _ in range(5)] == [*heads, None]


@pytest.mark.clause(85, "2.7.9", "the one that is held for statistics included")
@pytest.mark.clause(86, "2.8.8", "the one that is held for statistics included")
@both_formats
async def test_a_buffer_that_is_held_is_used_before_the_next(ring, features):
    async with driven(ring=ring) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=features)
        heads = [driver.request(STATS, bytes(10)) for _ in range(3)]
        await settled(service)
        assert [driver.used(STATS) for _ in range(3)] == [*heads[:2], None]
        service._statistics_due()
        assert driver.used(STATS) == heads[2]


@pytest.mark.clause(85, "2.7.9", "and stops rather than use another one first")
@pytest.mark.clause(86, "2.8.8", "and stops rather than use another one first")
@pytest.mark.parametrize("packed", [False, True])
def test_a_buffer_that_is_not_the_oldest_is_never_used(packed):
    with packed_by_hand(SIZE, in_order=True) if packed else raw_ring(SIZE, in_order=True) as ring:
        for head in (2, 5):
            if packed:
                ring.offer(head, (DATA, 4, 0))
            else:
                ring.describe(head, DATA, 4)
                ring.offer(head)
        assert [ring.device.pop().head for _ in range(2)] == [2, 5]
        before = ring.memory.read(0, DATA)
        with pytest.raises(AssertionError, match="in spite of IN_ORDER"):
            ring.device.push(5)
        assert ring.memory.read(0, DATA) == before


@pytest.mark.clause(85, "2.7.9", "MAY write one used element for several buffers", "not used")
def test_every_buffer_has_its_used_element():
    with raw_ring(SIZE, in_order=True) as ring:
        for head in (2, 5, 0):
            ring.describe(head, DATA, 4)
            ring.offer(head)
        for head in [ring.device.pop().head for _ in range(3)]:
            ring.device.push(head)
        assert [ring.used_element(position).id for position in range(ring.used_idx)] == [2, 5, 0]


@pytest.mark.clause(86, "2.8.8", "MAY write one used descriptor for several buffers", "not used")
def test_every_buffer_has_its_used_descriptor():
    with packed_by_hand(SIZE, in_order=True) as ring:
        for buffer_id in (2, 5, 0):
            ring.offer(buffer_id, (DATA, 4, 0))
        for head in [ring.device.pop().head for _ in range(3)]:
            ring.device.push(head)
        used = [ring.descriptor(offset) for offset in range(3)]
        assert [(each.id, each.flags) for each in used] == [(buffer_id, USED_TURN[1]) for buffer_id in (2, 5, 0)]


# The driver.


@pytest.fixture
def ram():
    with closing(Ram(1 << 16)) as made:
        yield made


@pytest.mark.clause(87, "2.7.5.2", "with IN_ORDER MUST have each descriptor followed by the next of the table")
def test_descriptors_are_taken_round_the_table_whatever_came_back_first(ram):
    ring, areas = make_ring(ram, KernelMemory(1 << 16), IN_ORDER, SIZE)
    with closing(ring), ram.view(areas.descriptors, SIZE * DESCRIPTOR.size) as table:
        taken = []
        for count in (3, 1, 2, 4, 2, 3):
            head = ring.add_chain([(0, 4)] * count, [])
            taken.append(head)
            for number in range(count - 1):
                at = (head + number) % SIZE
                assert DESCRIPTOR.unpack_from(table, at * DESCRIPTOR.size).next == (at + 1) % SIZE
            _use_split(ram, areas, len(taken) - 1, head, len(taken))
            assert ring.get_used() == head
        assert taken == [0, 3, 4, 6, 2, 4]


@pytest.mark.clause(87, "2.7.9", "and takes a used element for all buffers up to the one that it names")
def test_a_batch_is_taken_back_by_its_one_used_element(ram):
    ring, areas = make_ring(ram, KernelMemory(1 << 16), IN_ORDER, SIZE)
    with closing(ring):
        heads = [ring.add(0, 4) for _ in range(5)]
        _use_split(ram, areas, 0, heads[2], 3)  # where the first of the batch would stand
        assert [ring.get_used() for _ in range(4)] == [*heads[:3], None]
        _use_split(ram, areas, 3, heads[4], 5)
        assert [ring.get_used() for _ in range(3)] == [*heads[3:], None]


@pytest.mark.clause(88, "2.8.8", "takes a used descriptor for all buffers up to the one that it names")
def test_a_batch_is_taken_back_by_its_one_used_descriptor(ram):
    ring, areas = make_ring(ram, KernelMemory(1 << 16), PACKED, SIZE)
    with closing(ring):
        heads = [ring.add_chain([(0, 4)] * count, []) for count in (1, 2, 1, 3)]
        _use_packed(ram, areas, 0, heads[2])
        assert [ring.get_used() for _ in range(4)] == [*heads[:3], None]
        _use_packed(ram, areas, 4, heads[3])
        assert [ring.get_used() for _ in range(2)] == [heads[3], None]
        assert ring.num_free == SIZE


def _use_split(ram: Ram, areas, position: int, head: int, used_idx: int) -> None:
    """Write a used element as a device does, and the index that publishes it."""
    at = areas.device_area + 4 * USED_RING_WORD32 + position % SIZE * USED_ELEMENT.size
    ram.write(at, USED_ELEMENT.pack(UsedElement(head, 0)))
    with ram.view(areas.device_area, 4) as header, words16(header) as words:
        words[IDX_WORD] = used_idx


def _use_packed(ram: Ram, areas, offset: int, buffer_id: int) -> None:
    """Write a used descriptor as a device does in its first lap."""
    ram.write(
        areas.descriptors + offset * PACKED_DESCRIPTOR.size,
        PACKED_DESCRIPTOR.pack(PackedDescriptor(0, 0, buffer_id, 0)),
    )
    with ram.view(areas.descriptors, SIZE * PACKED_DESCRIPTOR.size) as ring, words16(ring) as words:
        words[offset * DESCRIPTOR_WORDS + FLAGS_WORD] = USED_TURN[1]
