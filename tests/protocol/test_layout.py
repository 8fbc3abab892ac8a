import importlib
import pkgutil
import struct
from typing import Any, NamedTuple

import construct
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

import protocol
from protocol.layout import Layout, LayoutError
from protocol.split_ring import DESCRIPTOR, Descriptor
from protocol.vhost_user.header import MESSAGE_HEADER


def _declared_layouts() -> dict[str, Layout[Any]]:
    found: dict[int, tuple[str, Layout[Any]]] = {}
    for info in pkgutil.walk_packages(protocol.__path__, "protocol."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, Layout):
                found[id(value)] = (f"{info.name}.{name}", value)
    return dict(found.values())


LAYOUTS = _declared_layouts()

every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())


class Pair(NamedTuple):
    one: int
    two: int


PAIR = Layout(Pair, one=construct.Int8ul, two=construct.Int32ul)


def _bytes_of(layout: Layout[Any]) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=layout.size, max_size=layout.size)


def test_the_walk_finds_layouts_of_the_ring_and_of_vhost_user():
    assert len(LAYOUTS) > 10
    assert any(layout is DESCRIPTOR for layout in LAYOUTS.values())
    assert any(layout is MESSAGE_HEADER for layout in LAYOUTS.values())


@every_layout
def test_all_codecs_have_one_size_and_the_fields_of_the_record(layout):
    assert layout.construct.sizeof() == layout.struct.size == layout.dtype.itemsize == layout.size
    assert layout.dtype.names == layout.record._fields


@every_layout
@examples(50)
@given(data=st.data())
def test_construct_struct_and_numpy_read_and_write_every_byte_string_alike(layout, data):
    raw = data.draw(_bytes_of(layout))
    record = layout.unpack(raw)
    parsed = layout.construct.parse(raw)

    assert tuple(record) == tuple(parsed[name] for name in record._fields) == layout.array(raw)[0].item()
    assert layout.pack(record) == raw
    assert layout.construct.build(record._asdict()) == raw
    assert np.array([tuple(record)], dtype=layout.dtype).tobytes() == raw


@every_layout
@examples(20)
@given(data=st.data())
def test_a_record_is_read_and_stored_anywhere_in_a_buffer(layout, data):
    before, raw, after = (
        data.draw(st.binary(max_size=9)),
        data.draw(_bytes_of(layout)),
        data.draw(st.binary(max_size=9)),
    )
    buffer = bytearray(len(before) + layout.size + len(after))
    buffer[: len(before)] = before
    buffer[len(before) + layout.size :] = after
    layout.pack_into(buffer, len(before), layout.unpack(raw))

    assert buffer == before + raw + after
    assert layout.unpack_from(memoryview(buffer), len(before)) == layout.unpack(raw)


@every_layout
@examples(20)
@given(data=st.data())
def test_many_records_are_read_alike_and_a_shorter_tail_is_left_out(layout, data):
    records = data.draw(st.lists(_bytes_of(layout), max_size=4))
    tail = data.draw(st.binary(max_size=layout.size - 1))
    raw = b"".join(records) + tail

    assert list(layout.iter_unpack(raw)) == [layout.unpack(record) for record in records]
    assert layout.array(raw).tolist() == [tuple(layout.unpack(record)) for record in records]


@every_layout
def test_a_wrong_length_is_refused(layout):
    for length in (0, layout.size - 1, layout.size + 1, 2 * layout.size):
        with pytest.raises(LayoutError, match=f"^{length} bytes where {layout.record.__name__} has {layout.size}$"):
            layout.unpack(bytes(length))


@every_layout
def test_a_record_that_does_not_lie_in_the_buffer_whole_is_refused(layout):
    buffer = bytes(2 * layout.size)
    for offset in (-1, -layout.size, layout.size + 1, 2 * layout.size):
        with pytest.raises(LayoutError):
            layout.unpack_from(buffer, offset)
    assert layout.unpack_from(buffer, layout.size) == layout.unpack(bytes(layout.size))


@every_layout
def test_the_offset_of_a_field_is_where_its_bytes_are_stored(layout):
    empty = layout.unpack(bytes(layout.size))
    for name in layout.record._fields:
        raw = layout.pack(empty._replace(**{name: 0xFF}))
        assert raw.index(b"\xff") == layout.offset_of(name)


def test_integers_are_little_endian_and_packed_without_padding():
    assert DESCRIPTOR.pack(Descriptor(0x0102030405060708, 0x090A0B0C, 0x0D0E, 0x0F10)).hex() == (
        "0807060504030201" + "0c0b0a09" + "0e0d" + "100f"
    )
    assert PAIR.size == 5


def test_a_value_that_does_not_fit_is_not_packed():
    with pytest.raises(struct.error):
        PAIR.pack(Pair(256, 0))
    with pytest.raises(struct.error):
        PAIR.pack(Pair(-1, 0))


@pytest.mark.parametrize(
    "field",
    [construct.Int32ub, construct.Int32sl, construct.Float32l, construct.Bytes(4), construct.Int24ul],
    ids=["big-endian", "signed", "float", "bytes", "three bytes"],
)
def test_a_field_that_is_not_an_unsigned_little_endian_integer_is_refused(field):
    with pytest.raises(TypeError, match="'two' is not an unsigned little-endian integer"):
        Layout(Pair, one=construct.Int8ul, two=field)


@pytest.mark.parametrize(
    "fields",
    [
        {"one": construct.Int8ul},
        {"two": construct.Int8ul, "one": construct.Int8ul},
        {"one": construct.Int8ul, "too": construct.Int8ul},
    ],
    ids=["missing", "swapped", "misspelt"],
)
def test_a_declaration_whose_names_differ_from_the_record_is_refused(fields):
    with pytest.raises(TypeError, match="its layout declares"):
        Layout(Pair, **fields)
