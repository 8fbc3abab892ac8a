from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.errors import StateError
from vballoond.state.slots import SLOT_HEADER, SlotHeader, Slots, _checksum

SIZE = 128
CAPACITY = SIZE // 2 - SLOT_HEADER.size
TEXTS = st.binary(max_size=CAPACITY)


def written(*texts: bytes) -> bytearray:
    memory = bytearray(SIZE)
    slots = Slots(memoryview(memory))
    for text in texts:
        slots.write(text)
    return memory


def read(memory: bytes | bytearray) -> bytes | None:
    return Slots(memoryview(bytearray(memory))).read()


def slot(number: int, text: bytes) -> bytes:
    """A slot as its writer leaves it."""
    header = SLOT_HEADER.pack(SlotHeader(number, len(text), _checksum(number, text)))
    return (header + text).ljust(SIZE // 2, b"\0")


def test_memory_that_was_never_written_has_no_text() -> None:
    assert read(bytes(SIZE)) is None


@examples()
@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_the_last_text_is_read_by_whoever_opens_the_slots(texts: list[bytes]) -> None:
    memory = bytearray(SIZE)
    for text in texts:
        slots = Slots(memoryview(memory))
        slots.write(text)
        assert slots.read() == read(memory) == text


class Recorder:
    """Stands in for a slot; keeps what is stored, in order."""

    def __init__(self, slot: memoryview, first: int, stores: list[tuple[int, bytes]]) -> None:
        self._slot, self._first, self._stores = slot, first, stores

    def __getitem__(self, key: slice) -> memoryview:
        return self._slot[key]

    def __setitem__(self, key: slice, data: bytes) -> None:
        self._stores.append((self._first + (key.start or 0), bytes(data)))
        self._slot[key] = data


def moments(memory: bytes, text: bytes) -> Iterator[bytes]:
    """Write a text; yield what is in memory wherever that may break off: in each store, behind or before any byte."""
    stores: list[tuple[int, bytes]] = []
    slots = Slots(memoryview(bytearray(memory)))
    slots._slots = tuple(Recorder(slot, at * SIZE // 2, stores) for at, slot in enumerate(slots._slots))
    slots.write(text)
    image = bytearray(memory)
    for first, data in stores:
        before = bytes(image)
        image[first : first + len(data)] = data
        for cut in range(first, first + len(data) + 1):
            yield bytes(image[:cut]) + before[cut:]
            yield before[:cut] + bytes(image[cut:])
    yield bytes(image)


@examples()
@given(before=st.lists(TEXTS, min_size=1, max_size=4), text=TEXTS)
@example(before=[b"same"], text=b"same")
@example(before=[b"one", b"two"], text=b"one")
def test_wherever_a_write_breaks_off_the_text_before_or_the_new_one_is_read(before: list[bytes], text: bytes) -> None:
    found = [read(memory) for memory in moments(bytes(written(*before)), text)]
    assert set(found) <= {before[-1], text}
    assert found[-1] == text


@examples(30)
@given(before=st.lists(TEXTS, min_size=1, max_size=3), text=TEXTS, after=TEXTS, data=st.data())
def test_the_same_holds_for_whoever_goes_on_from_a_write_that_broke_off(before, text, after, data) -> None:
    torn = data.draw(st.sampled_from(list(moments(bytes(written(*before)), text))))
    found = [read(memory) for memory in moments(torn, after)]
    assert set(found) <= {read(torn), after}
    assert found[-1] == after


def test_a_text_that_was_half_written_does_not_become_whole_by_the_next_ones_number() -> None:
    memory = written(b"before", b"half")
    memory[0] ^= 2  # the number of the second is not there yet, all else is
    assert read(memory) == b"before"
    assert {read(moment) for moment in moments(bytes(memory), b"")} == {b"before", b""}


def test_the_first_text_is_there_whole_or_not_at_all() -> None:
    new = written(b"first")
    for cut in range(SIZE + 1):
        assert read(new[:cut] + bytes(SIZE - cut)) in (None, b"first")


def test_a_text_that_is_too_long_is_refused_and_the_one_before_stays() -> None:
    memory = bytearray(SIZE)
    slots = Slots(memoryview(memory))
    assert slots.capacity_bytes == CAPACITY
    slots.write(b"before")
    kept = bytes(memory)
    with pytest.raises(StateError, match=f"{CAPACITY + 1} bytes of state, where there is room for {CAPACITY}"):
        slots.write(bytes(CAPACITY + 1))
    assert bytes(memory) == kept
    slots.write(b"x" * CAPACITY)
    assert read(memory) == b"x" * CAPACITY


@examples(300)
@given(st.binary(min_size=SIZE, max_size=SIZE), TEXTS)
def test_whatever_is_in_memory_nothing_comes_of_it_and_a_text_can_be_written(garbage: bytes, text: bytes) -> None:
    memory = bytearray(garbage)
    assert read(memory) is None
    Slots(memoryview(memory)).write(text)
    assert read(memory) == text


@examples()
@given(numbers=st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)))
@example(numbers=((1 << 64) - 1, 0))
@example(numbers=((1 << 63) - 1, 1))
@example(numbers=(3, 3))
def test_whatever_numbers_are_there_the_newest_text_outlives_a_write_that_breaks_off(numbers: tuple[int, int]) -> None:
    memory = bytearray(slot(numbers[0], b"one") + slot(numbers[1], b"two"))
    before = read(memory)
    old = bytes(memory)
    try:
        Slots(memoryview(memory)).write(b"new")
    except StateError:
        assert memory == old
        return
    if max(numbers) < (1 << 63) - 1:
        assert read(memory) == b"new"
        assert {read(moment) for moment in moments(old, b"new")} <= {before, b"new"}


def test_closing_lets_go_of_the_memory() -> None:
    memory = bytearray(SIZE)
    view = memoryview(memory)
    Slots(view).close()
    view.release()
    memory.clear()
