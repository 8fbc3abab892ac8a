from itertools import pairwise
from typing import Any

import pytest
from support.memory_files import FRAME, Place, guest_memory

from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag
from vballoond.errors import GuestError
from vballoond.memory.guest_memory import GuestMemory
from vballoond.virtqueue.chain import MAX_DESCRIPTORS, Buffer, Chain, walk

NEXT, WRITE, INDIRECT = DescriptorFlag
UNKNOWN = 0xFFF8
INDIRECT_TABLE = 0x2000


def packed(*descriptors: Descriptor) -> bytes:
    return b"".join(map(DESCRIPTOR.pack, descriptors))


def table(*descriptors: Descriptor, entries: int = 8) -> memoryview:
    """Make a descriptor table; the entries behind ``descriptors`` are zeros."""
    return memoryview(packed(*descriptors).ljust(entries * DESCRIPTOR.size, b"\0"))


class IndirectTables(GuestMemory):
    """Guest memory that holds one indirect table, and counts how often it is read."""

    def __init__(self, *descriptors: Descriptor) -> None:
        super().__init__()
        self.content = packed(*descriptors)
        self.reads: list[tuple[int, int]] = []

    def read(self, guest_address: int, length: int) -> bytes:
        self.reads.append((guest_address, length))
        return self.content[guest_address - INDIRECT_TABLE :][:length]


def indirect(*inner: Descriptor, flags: int = INDIRECT, length: int | None = None) -> Any:
    """Walk a chain that is one indirect descriptor."""
    size = len(inner) * DESCRIPTOR.size if length is None else length
    outer = table(Descriptor(INDIRECT_TABLE, size, flags, 0))
    return walk(outer, 0, IndirectTables(*inner), indirect=True)


NO_MEMORY = GuestMemory()


def test_one_descriptor_is_a_chain():
    chain = walk(table(Descriptor(0x100, 12, 0, 0)), 0, NO_MEMORY, indirect=False)
    assert chain == Chain(0, (Buffer(0x100, 12),), ())
    assert (chain.readable_bytes, chain.writable_bytes) == (12, 0)


def test_readable_and_writable_buffers_come_in_the_order_of_the_chain():
    chain = walk(
        table(
            Descriptor(0x300, 3, NEXT | WRITE, 3),
            Descriptor(0x200, 2, NEXT, 0),
            Descriptor(0x100, 1, NEXT, 1),
            Descriptor(0x400, 4, WRITE, 0),
        ),
        2,
        NO_MEMORY,
        indirect=False,
    )
    assert chain == Chain(2, (Buffer(0x100, 1), Buffer(0x200, 2)), (Buffer(0x300, 3), Buffer(0x400, 4)))
    assert (chain.readable_bytes, chain.writable_bytes) == (3, 7)


def test_next_means_nothing_without_its_flag():
    assert walk(table(Descriptor(0, 4, 0, 0xFFFF)), 0, NO_MEMORY, indirect=False).readable == (Buffer(0, 4),)


def test_unknown_flags_are_ignored():
    chain = walk(
        table(Descriptor(1, 1, UNKNOWN | NEXT, 1), Descriptor(2, 2, UNKNOWN | WRITE, 0)), 0, NO_MEMORY, indirect=True
    )
    assert chain == Chain(0, (Buffer(1, 1),), (Buffer(2, 2),))


def test_a_readable_descriptor_behind_a_writable_one_is_an_error():
    broken = table(Descriptor(0, 4, NEXT | WRITE, 1), Descriptor(0, 4, 0, 0))
    with pytest.raises(GuestError, match="buffer 0 has a readable descriptor behind a writable one"):
        walk(broken, 0, NO_MEMORY, indirect=False)


@pytest.mark.parametrize("head", [8, 9, 0xFFFF])
def test_a_head_past_the_table_is_an_error(head):
    with pytest.raises(GuestError, match=f"descriptor {head} in a table of 8"):
        walk(table(), head, NO_MEMORY, indirect=False)


@pytest.mark.parametrize("following", [8, 0xFFFF])
def test_a_chain_past_the_table_is_an_error(following):
    broken = table(Descriptor(0, 4, NEXT, 1), Descriptor(0, 4, NEXT, following))
    with pytest.raises(GuestError, match=f"descriptor {following} in a table of 8"):
        walk(broken, 0, NO_MEMORY, indirect=False)


def test_a_chain_may_be_as_long_as_its_table():
    full = [Descriptor(n, 1, NEXT, n + 1) for n in range(7)]
    chain = walk(table(*full, Descriptor(7, 1, 0, 0)), 0, NO_MEMORY, indirect=False)
    assert chain.readable == tuple(Buffer(n, 1) for n in range(8))


@pytest.mark.parametrize("back_to", range(8))
def test_a_chain_that_loops_is_an_error(back_to):
    loop = [Descriptor(n, 1, NEXT, n + 1) for n in range(7)]
    with pytest.raises(GuestError, match="it loops"):
        walk(table(*loop, Descriptor(7, 1, NEXT, back_to)), 0, NO_MEMORY, indirect=False)


def test_a_descriptor_that_follows_itself_is_an_error():
    with pytest.raises(GuestError, match="it loops"):
        walk(table(Descriptor(0, 4, NEXT, 0), entries=1), 0, NO_MEMORY, indirect=False)


def test_a_chain_of_as_many_descriptors_as_any_driver_sends_is_walked():
    long = [Descriptor(n, 1, NEXT, n + 1) for n in range(MAX_DESCRIPTORS - 1)]
    chain = walk(table(*long, Descriptor(0, 1, 0, 0), entries=2 * MAX_DESCRIPTORS), 0, NO_MEMORY, indirect=False)
    assert len(chain.readable) == MAX_DESCRIPTORS


def test_a_chain_that_is_longer_is_an_error_though_its_table_has_room():
    long = [Descriptor(n, 1, NEXT, n + 1) for n in range(MAX_DESCRIPTORS)]
    with pytest.raises(GuestError, match=f"more than {MAX_DESCRIPTORS} descriptors"):
        walk(table(*long, Descriptor(0, 1, 0, 0), entries=2 * MAX_DESCRIPTORS), 0, NO_MEMORY, indirect=False)


def test_an_indirect_descriptor_stands_for_its_table():
    chain = indirect(Descriptor(0x100, 4, NEXT, 2), Descriptor(0x300, 8, WRITE, 0), Descriptor(0x200, 6, NEXT, 1))
    assert chain == Chain(0, (Buffer(0x100, 4), Buffer(0x200, 6)), (Buffer(0x300, 8),))


def test_a_chain_in_an_indirect_table_need_not_fill_it():
    assert indirect(Descriptor(0x100, 4, 0, 0), Descriptor(0x200, 4, 0, 0)).readable == (Buffer(0x100, 4),)


def test_an_indirect_table_is_copied_out_once():
    memory = IndirectTables(*(Descriptor(n, 1, NEXT, n + 1) for n in range(3)), Descriptor(3, 1, 0, 0))
    outer = table(Descriptor(INDIRECT_TABLE, 64, INDIRECT, 0))
    assert len(walk(outer, 0, memory, indirect=True).readable) == 4
    assert memory.reads == [(INDIRECT_TABLE, 64)]


def test_direct_descriptors_may_be_followed_by_one_indirect_descriptor():
    outer = table(
        Descriptor(0x10, 1, NEXT, 1), Descriptor(0x20, 2, NEXT, 2), Descriptor(INDIRECT_TABLE, 32, INDIRECT, 0)
    )
    memory = IndirectTables(Descriptor(0x30, 3, NEXT, 1), Descriptor(0x40, 4, WRITE, 0))
    chain = walk(outer, 0, memory, indirect=True)
    assert chain == Chain(0, (Buffer(0x10, 1), Buffer(0x20, 2), Buffer(0x30, 3)), (Buffer(0x40, 4),))


def test_a_readable_descriptor_of_a_table_behind_a_writable_direct_one_is_an_error():
    outer = table(Descriptor(0, 4, NEXT | WRITE, 1), Descriptor(INDIRECT_TABLE, 16, INDIRECT, 0))
    with pytest.raises(GuestError, match="readable descriptor behind a writable one"):
        walk(outer, 0, IndirectTables(Descriptor(0, 4, 0, 0)), indirect=True)


def test_the_write_flag_of_an_indirect_descriptor_is_ignored():
    chain = indirect(Descriptor(0x100, 4, 0, 0), flags=INDIRECT | WRITE)
    assert chain == Chain(0, (Buffer(0x100, 4),), ())


def test_an_indirect_descriptor_that_was_not_negotiated_is_an_error():
    memory = IndirectTables(Descriptor(0, 4, 0, 0))
    with pytest.raises(GuestError, match="INDIRECT_DESC was not negotiated"):
        walk(table(Descriptor(INDIRECT_TABLE, 16, INDIRECT, 0)), 0, memory, indirect=False)
    assert memory.reads == []


def test_an_indirect_descriptor_with_a_next_one_is_an_error():
    with pytest.raises(GuestError, match="both INDIRECT and NEXT"):
        indirect(Descriptor(0, 4, 0, 0), flags=INDIRECT | NEXT)


@pytest.mark.parametrize("at", [0, 1])
def test_indirect_tables_do_not_nest(at):
    inner = [Descriptor(0, 4, NEXT, 1), Descriptor(0, 4, 0, 0)]
    inner[at] = Descriptor(INDIRECT_TABLE, 16, INDIRECT, 0)
    with pytest.raises(GuestError, match="holds an indirect descriptor"):
        indirect(*inner[: at + 1])


@pytest.mark.parametrize("length", [0, 1, 15, 17, 24, 16 * MAX_DESCRIPTORS + 16, 0xFFFFFFF0])
def test_an_indirect_table_of_a_wrong_length_is_an_error(length):
    memory = IndirectTables(Descriptor(0, 4, 0, 0))
    with pytest.raises(GuestError, match=f"an indirect table of {length} bytes"):
        walk(table(Descriptor(INDIRECT_TABLE, length, INDIRECT, 0)), 0, memory, indirect=True)
    assert memory.reads == []


def test_an_indirect_table_may_be_longer_than_its_queue():
    count = MAX_DESCRIPTORS
    inner = [Descriptor(n, 1, NEXT, n + 1) for n in range(count - 1)]
    assert len(indirect(*inner, Descriptor(0, 1, 0, 0)).readable) == count


def test_a_loop_in_an_indirect_table_is_an_error():
    with pytest.raises(GuestError, match="it loops"):
        indirect(Descriptor(0, 4, NEXT, 1), Descriptor(0, 4, NEXT, 0))


def test_a_chain_past_its_indirect_table_is_an_error():
    with pytest.raises(GuestError, match="descriptor 2 in a table of 2"):
        indirect(Descriptor(0, 4, NEXT, 2), Descriptor(0, 4, 0, 0))


@pytest.mark.parametrize("address", [2 * FRAME - 8, 4 * FRAME, (1 << 64) - 16, (1 << 64) - 8])
def test_an_indirect_table_that_is_not_in_memory_whole_is_an_error(address):
    with (
        guest_memory((0, 2 * FRAME)) as memory,
        pytest.raises(GuestError, match=f"16 bytes at guest address {address:#x}"),
    ):
        walk(table(Descriptor(address, 16, INDIRECT, 0)), 0, memory, indirect=True)


@pytest.mark.parametrize("address", [1, FRAME - 7, FRAME - 16])
def test_an_indirect_table_may_lie_anywhere_even_across_regions(address):
    with guest_memory(Place(0, FRAME, 4 * FRAME), Place(FRAME, FRAME)) as memory:
        content = packed(Descriptor(0x10, 1, NEXT, 1), Descriptor(0x20, 2, 0, 0))
        for offset, byte in enumerate(content):
            region = memory.regions[(address + offset) // FRAME]
            with region.view((address + offset) % FRAME, 1) as view:
                view[0] = byte
        chain = walk(table(Descriptor(address, len(content), INDIRECT, 0)), 0, memory, indirect=True)
    assert chain.readable == (Buffer(0x10, 1), Buffer(0x20, 2))


@pytest.fixture
def numbered():
    """Two regions that touch for the guest; the byte at each address is its remainder by 251."""
    with guest_memory(Place(0, FRAME, FRAME), Place(FRAME, FRAME)) as memory:
        for region in memory.regions:
            with region.view(0, FRAME) as view:
                view[:] = bytes((region.place.guest_address + n) % 251 for n in range(FRAME))
        yield memory


@pytest.mark.parametrize("cuts", [[], [1], [2, 3], [0, 4, 4, 5], [7], list(range(8))])
def test_a_chain_reads_as_one_piece_however_it_is_cut(numbered, cuts):
    edges = [0, *cuts, 8]
    buffers = tuple(Buffer(0x100 + a, b - a) for a, b in pairwise(edges))
    assert Chain(0, buffers, ()).read(numbered, 8) == bytes((0x100 + n) % 251 for n in range(8))


def test_a_chain_reads_over_the_edge_of_a_region(numbered):
    chain = Chain(0, (Buffer(FRAME - 2, 3), Buffer(4, 1)), ())
    assert chain.read(numbered, 4) == bytes(at % 251 for at in (FRAME - 2, FRAME - 1, FRAME, 4))


def test_a_chain_reads_what_is_readable_only(numbered):
    assert Chain(0, (), (Buffer(0, 8),)).read(numbered, 8) == b""
    assert Chain(0, (Buffer(3, 1),), (Buffer(1 << 60, 8),)).read(numbered, 1) == b"\x03"


def test_more_than_the_limit_is_an_error_before_any_of_it_is_read():
    memory = IndirectTables()
    chain = Chain(0, (Buffer(0, 5), Buffer(0, 4)), ())
    with pytest.raises(GuestError, match="a buffer of 9 bytes is larger than the 8"):
        chain.read(memory, 8)
    assert memory.reads == []
    chain.read(memory, 9)
    assert len(memory.reads) == 2


def test_lengths_that_add_up_beyond_32_bits_are_over_the_limit(numbered):
    chain = Chain(0, (Buffer(0, 0xFFFFFFFF), Buffer(0, 5)), ())
    with pytest.raises(GuestError, match=f"{0x100000004} bytes"):
        chain.read(numbered, 8)


@pytest.mark.parametrize("address", [2 * FRAME - 3, (1 << 64) - 2, (1 << 64) - 4, 1 << 63])
def test_a_buffer_that_is_not_in_memory_whole_is_an_error(numbered, address):
    with pytest.raises(GuestError, match=f"4 bytes at guest address {address:#x}"):
        Chain(0, (Buffer(0, 4), Buffer(address, 4)), ()).read(numbered, 8)
