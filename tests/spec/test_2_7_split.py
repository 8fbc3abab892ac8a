"""Split rings: what binds the device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import settled
from support.fake_front_end import RING_FEATURES, pfns
from support.in_process_driver import DEFLATE, INFLATE, driven
from support.interleaving import interrupt
from support.properties import examples
from support.raw_ring import DATA, INDIRECT, MEMORY_BYTES, NEXT, USED, WRITE, RawRing, raw_ring

from protocol.balloon.features import BalloonFeature
from protocol.split_ring import USED_RING_WORD32, Descriptor, SplitRingGeometry
from vballoond.errors import GuestError
from vballoond.virtqueue import split
from vballoond.virtqueue.chain import Buffer

REPORTING_VQ = 2  # as Linux numbers it where there is no statsq


def memory_but(ring: RawRing, address: int, length: int) -> bytes:
    """Return all memory but one piece of it."""
    return ring.memory.read(0, address) + ring.memory.read(address + length, MEMORY_BYTES - address - length)


# 2.7.4: message framing.


@pytest.mark.clause(73, "2.7.4.1", "MUST NOT expect a buffer to be laid out in certain descriptors")
@examples(30)
@given(cuts=st.lists(st.integers(0, 12), max_size=7), indirect=st.booleans())
def test_a_request_is_what_its_descriptors_hold_however_it_is_cut(cuts, indirect):
    data = pfns([0x01020304, 0xF0E0D0C0, 7])
    ends = [*sorted(cuts), len(data)]
    starts = [0, *ends[:-1]]
    with raw_ring(indirect=True) as ring:
        ring.write(DATA, data)
        pieces = [
            Descriptor(DATA + start, end - start, NEXT if number + 1 < len(ends) else 0, number + 1)
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        if indirect:
            ring.describe(0, DATA + 256, ring.indirect_table(DATA + 256, *pieces), INDIRECT)
        else:
            for number, piece in enumerate(pieces):
                ring.describe(number, *piece)
        ring.offer(0)
        assert ring.device.pop().read(ring.memory, 4096) == data


# 2.7.5: the descriptor table.


@pytest.mark.clause(74, "2.7.5.1", "MUST NOT write into readable buffers, nor into the descriptor table")
@pytest.mark.parametrize("event_idx", [False, True])
def test_only_the_used_ring_is_written(event_idx):
    with raw_ring(event_idx=event_idx, indirect=True) as ring:
        table = ring.indirect_table(DATA + 64, Descriptor(DATA, 8, NEXT, 1), Descriptor(DATA + 8, 8, WRITE, 0))
        ring.describe(0, DATA, 16, NEXT, 3)
        ring.describe(3, DATA + 64, table, INDIRECT)
        ring.offer(0)
        before = memory_but(ring, USED, ring.geometry.used_ring_bytes)
        chain = ring.device.pop()
        chain.read(ring.memory, 4096)
        ring.device.push(chain.head)
        ring.device.should_notify()
        ring.device.enable_kicks()
        assert ring.used_idx == 1
        assert memory_but(ring, USED, ring.geometry.used_ring_bytes) == before


@pytest.mark.clause(74, "2.7.5.1", "SHOULD NOT read writable buffers")
def test_what_is_writable_is_no_part_of_what_is_read():
    with raw_ring() as ring:
        ring.write(DATA, b"readwrit")
        ring.describe(0, DATA, 4, NEXT, 1)
        ring.describe(1, MEMORY_BYTES, 4, WRITE)  # reading there would be an error
        ring.offer(0)
        chain = ring.device.pop()
        assert chain.read(ring.memory, 4096) == b"read"
        assert chain.writable == (Buffer(MEMORY_BYTES, 4),)


@pytest.mark.clause(75, "2.7.5.3.2", "MUST ignore WRITE on a descriptor that refers to a table")
@pytest.mark.parametrize("write", [0, WRITE])
def test_what_a_table_holds_is_said_in_the_table(write):
    with raw_ring(indirect=True) as ring:
        ring.describe(0, DATA, ring.indirect_table(DATA, Descriptor(0x40, 4, 0, 0)), INDIRECT | write)
        ring.offer(0)
        assert ring.device.pop().readable == (Buffer(0x40, 4),)


@pytest.mark.clause(75, "2.7.5.3.2", "MUST handle direct descriptors in front of one that refers to a table")
def test_a_chain_may_end_in_a_table():
    with raw_ring(indirect=True) as ring:
        table = ring.indirect_table(DATA, Descriptor(0x30, 3, NEXT, 1), Descriptor(0x40, 4, WRITE, 0))
        ring.describe(5, 0x10, 1, NEXT, 2)
        ring.describe(2, 0x20, 2, NEXT, 7)
        ring.describe(7, DATA, table, INDIRECT)
        ring.offer(5)
        chain = ring.device.pop()
        assert chain.readable == (Buffer(0x10, 1), Buffer(0x20, 2), Buffer(0x30, 3))
        assert chain.writable == (Buffer(0x40, 4),)


# 2.7.8: the used ring.


@pytest.mark.clause(77, "2.7.8.2", "MUST write an element, its length too, before the index that publishes it")
def test_whenever_the_driver_looks_a_published_element_is_whole():
    step, came_in_between, published = 0, True, set()
    while came_in_between:
        with raw_ring() as ring:
            ring.used_elements[USED_RING_WORD32] = ring.used_elements[USED_RING_WORD32 + 1] = 0x5A5A5A5A

            def look(ring: RawRing = ring) -> None:
                published.add(ring.used_idx)
                assert not ring.used_idx or ring.used_element(0) == (6, 12)

            _, came_in_between = interrupt(lambda ring=ring: ring.device.push(6, 12), split.__name__, step, look)
        step += 1
    assert published == {0, 1}


@pytest.mark.clause(77, "2.7.8.2", "MUST have written as many bytes as an element's length says")
async def test_a_balloon_writes_nothing_and_says_so():
    async with driven(features=["page-reporting"]) as (service, driver):
        driver.load(INFLATE, DEFLATE, REPORTING_VQ, features=RING_FEATURES | BalloonFeature.PAGE_REPORTING)
        first = driver.guest.first_free_pfn()
        for index in (INFLATE, DEFLATE):
            driver.request(index, pfns([first]))
        driver.guest.queues[REPORTING_VQ].ring.add(first * 4096, 4096, device_writes=True)
        driver.device.kick(REPORTING_VQ)
        for queue in driver.guest.queues.values():
            queue.ring._used_elements[USED_RING_WORD32 + 1] = 0x5A5A5A5A
        await settled(service)
        for queue in driver.guest.queues.values():
            assert queue.ring._used_elements[USED_RING_WORD32 + 1] == 0
            assert queue.ring.get_used() is not None


# What drivers must not do, and what then happens: 2.7, 2.7.5.3.1 and 2.7.13.3.


def jump(ring: RawRing) -> None:
    ring.avail_idx += 9


def head_out_of_range(ring: RawRing) -> None:
    ring.offer(8)


def loop(ring: RawRing) -> None:
    ring.describe(0, DATA, 4, NEXT, 1)
    ring.describe(1, DATA, 4, NEXT, 0)
    ring.offer(0)


def out_of_the_table(ring: RawRing) -> None:
    ring.describe(0, DATA, 4, NEXT, 8)
    ring.offer(0)


def table_and_next(ring: RawRing) -> None:
    ring.describe(0, DATA, ring.indirect_table(DATA, Descriptor(0, 4, 0, 0)), INDIRECT | NEXT, 1)
    ring.offer(0)


def table_in_a_table(ring: RawRing) -> None:
    ring.describe(0, DATA, ring.indirect_table(DATA, Descriptor(DATA, 16, INDIRECT, 0)), INDIRECT)
    ring.offer(0)


def half_an_entry(ring: RawRing) -> None:
    ring.describe(0, DATA, 24, INDIRECT)
    ring.offer(0)


def readable_behind_writable(ring: RawRing) -> None:
    ring.describe(0, DATA, 4, NEXT | WRITE, 1)
    ring.describe(1, DATA, 4)
    ring.offer(0)


@pytest.mark.clause(73, "2.7.5", "and a ring that breaks a rule for drivers breaks the balloon, not the device")
@pytest.mark.parametrize(
    "broken",
    [
        jump,
        head_out_of_range,
        loop,
        out_of_the_table,
        table_and_next,
        table_in_a_table,
        half_an_entry,
        readable_behind_writable,
    ],
)
def test_a_ring_that_breaks_a_rule_is_refused_where_it_stands(broken):
    with raw_ring(8, indirect=True) as ring:
        broken(ring)
        for _ in range(2):
            with pytest.raises(GuestError):
                ring.device.pop()
        assert (ring.device.next_avail, ring.used_idx) == (0, 0)


@pytest.mark.clause(73, "2.7", "and a queue has a power of two of entries, 32768 at most")
@pytest.mark.parametrize(
    ("size", "good"), [(1, True), (128, True), (32768, True), (0, False), (6, False), (65536, False)]
)
def test_the_size_of_a_split_ring_is_checked(size, good):
    if good:
        assert SplitRingGeometry(size).queue_size == size
    else:
        with pytest.raises(ValueError, match="power of two"):
            SplitRingGeometry(size)
