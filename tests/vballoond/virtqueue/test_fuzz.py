from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_files import guest_memory
from support.properties import examples
from support.raw_ring import AVAIL, DATA, MEMORY_BYTES, TABLE, USED, RawRing

from protocol.split_ring import DESCRIPTOR, Descriptor
from vballoond.balloon.inflate import MAX_REQUEST_BYTES
from vballoond.errors import GuestError
from vballoond.memory.guest_memory import GuestMemory
from vballoond.virtqueue.chain import MAX_DESCRIPTORS, Chain

SIZES = (1, 2, 8, 16)
_EDGES = (0, TABLE, USED, MEMORY_BYTES - 16, MEMORY_BYTES - 1, MEMORY_BYTES, (1 << 64) - 16, (1 << 64) - 1)
_ADDRESSES = (*[DATA] * 8, DATA + 8, DATA + 32, *_EDGES)
_LENGTHS = (16, 32, 32, 48, 64, 128, 0, 1, 4, 24, 16 * MAX_DESCRIPTORS, MAX_REQUEST_BYTES, 0xFFFFFFFF)
# Mostly what makes a chain go on or turn indirect, so that many walks get far.
_FLAGS = (0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7)


class Ring(NamedTuple):
    """The bytes of a ring, and what is stored over them."""

    size: int
    next_avail: int
    options: dict[str, bool]
    table: bytes
    heads: list[int]
    waiting: int
    indirect_table: bytes
    stores: list[tuple[int, bytes]]


def _some(random: Random, usual: Sequence[int], bits: int) -> int:
    """One of the usual values, or now and then any."""
    return random.choice(usual) if random.random() < 0.95 else random.getrandbits(bits)


def _descriptors(random: Random, count: int) -> bytes:
    def descriptor() -> Descriptor:
        return Descriptor(
            addr=_some(random, _ADDRESSES, 64),
            len=_some(random, _LENGTHS, 32),
            flags=_some(random, _FLAGS, 16),
            next=_some(random, range(count), 16),
        )

    return b"".join(DESCRIPTOR.pack(descriptor()) for _ in range(count))


def _ring(seed: int) -> Ring:
    """A ring that is right for the most part, and any bytes stored over any part of it."""
    random = Random(seed)
    size = random.choice(SIZES)
    return Ring(
        size=size,
        next_avail=_some(random, (0, 3, 0xFFFF), 16),
        options={"event_idx": random.random() < 0.5, "indirect": random.random() < 0.8},
        table=_descriptors(random, size),
        heads=[random.randrange(size) for _ in range(size)],
        waiting=_some(random, (size, size, size, 1, 0, size + 1), 16),
        indirect_table=_descriptors(random, 8),
        stores=[
            (random.choice((TABLE, AVAIL, USED, DATA)) + random.randrange(64), random.randbytes(random.randint(1, 16)))
            for _ in range(random.choice((0, 0, 1, 4, 20)))
        ],
    )


RINGS = st.integers(0, (1 << 64) - 1).map(_ring)


@pytest.fixture(scope="module")
def memory():
    with guest_memory((0, MEMORY_BYTES)) as mapped:
        yield mapped


def _lay_out(memory: GuestMemory, ring: Ring) -> RawRing:
    with memory.user_view(0, DATA + 0x1000) as view:
        view[:] = bytes(len(view))
    raw = RawRing(memory, ring.size, next_avail=ring.next_avail, **ring.options)
    raw.write(TABLE, ring.table)
    raw.write(DATA, ring.indirect_table)
    raw.offer(*ring.heads)
    raw.avail_idx = ring.next_avail + ring.waiting
    return raw


def _serve(raw: RawRing) -> Any:
    """Take a buffer, read it and return it, as the service does. Nothing but a GuestError may be raised."""
    try:
        chain = raw.device.pop()
        if chain is not None:
            assert len(chain.readable) + len(chain.writable) <= raw.geometry.queue_size + MAX_DESCRIPTORS
            assert len(chain.read(raw.memory, MAX_REQUEST_BYTES)) == chain.readable_bytes <= MAX_REQUEST_BYTES
            raw.device.push(chain.head)
            raw.device.should_notify()
    except GuestError as error:
        return error
    return chain


@examples(1500)
@given(ring=RINGS)
def test_whatever_bytes_are_in_ring_memory_a_bounded_number_of_pops_ends(memory, ring):
    raw = _lay_out(memory, ring)
    try:
        for address, content in ring.stores:
            raw.write(address, content)
        outcomes = [_serve(raw) for _ in range(ring.size + 1)]
        assert not isinstance(outcomes[-1], Chain)
        assert (raw.device.next_avail - ring.next_avail) % 65536 <= ring.size
        assert raw.device.enable_kicks() in {True, False}
    finally:
        raw.close()


@examples(400)
@given(ring=RINGS)
def test_a_driver_that_changes_the_ring_while_it_is_served_sees_no_other_end(memory, ring):
    raw = _lay_out(memory, ring)
    try:
        for address, content in ring.stores:
            _serve(raw)
            raw.write(address, content)
            assert raw.device.enable_kicks() in {True, False}
    finally:
        raw.close()


@examples(400)
@given(content=st.binary(max_size=4096), size=st.sampled_from(SIZES))
def test_bytes_without_any_sense_are_a_guest_error_or_a_buffer_at_most(memory, content, size):
    raw = _lay_out(memory, Ring(size, 0, {"indirect": True}, b"", [], 0, content, []))
    try:
        for part in (TABLE, AVAIL, USED):
            raw.write(part, content[part % 7 :])
        assert all(isinstance(_serve(raw), GuestError | Chain | None) for _ in range(size + 1))
    finally:
        raw.close()


def _look(raw: RawRing) -> Chain | str | None:
    try:
        return raw.device.pop()
    except GuestError as error:
        return str(error)


@examples(400)
@given(ring=RINGS)
def test_a_buffer_that_was_refused_stays_where_it_is(memory, ring):
    raw = _lay_out(memory, ring)
    try:
        first, position, again = _look(raw), raw.device.next_avail, _look(raw)
        if isinstance(first, str):
            assert (first, ring.next_avail) == (again, position)
        else:
            assert (position - ring.next_avail) % 65536 == (first is not None)
    finally:
        raw.close()
