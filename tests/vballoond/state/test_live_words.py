import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.queues import MAX_QUEUES
from vballoond.state.live_words import DEVICE_WORDS, LIVE_BYTES, RING_WORDS, LiveWords
from vballoond.state.sealed_file import make_sealed, map_sealed
from vballoond.virtqueue.state import RingState

WORDS = st.integers(0, (1 << 32) - 1)
CONFIGS = st.builds(BalloonConfig, WORDS, WORDS, WORDS, WORDS)
RINGS = st.integers(0, MAX_QUEUES - 1)


class Recorder:
    """Stands in for the words; tells what was stored, one store at a time."""

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self.stores: list[tuple[int, int]] = []

    def __getitem__(self, key):
        return self.words[key]

    def __setitem__(self, key, value) -> None:
        assert isinstance(key, int), "a slice is not stored by one instruction"
        self.words[key] = value
        self.stores.append((key, value))

    def release(self) -> None:
        self.words.release()


class Twice:
    """Live words over one of two mappings of a file; what they stored is looked at through the other."""

    def __init__(self) -> None:
        fd = make_sealed("words", 4096)
        self.live = LiveWords(memoryview(map_sealed(fd)))
        self.other = map_sealed(fd)
        os.close(fd)

    def device(self):
        """What construct, the reference, reads."""
        return DEVICE_WORDS.construct.parse(self.other[: DEVICE_WORDS.size])

    def ring(self, index: int):
        at = DEVICE_WORDS.size + index * RING_WORDS.size
        return RING_WORDS.construct.parse(self.other[at : at + RING_WORDS.size])


@pytest.fixture
def twice() -> Iterator[Twice]:
    made = Twice()
    yield made
    made.live.close()


def recorded(live: LiveWords, name: str) -> Recorder:
    recorder = Recorder(getattr(live, name))
    setattr(live, name, recorder)
    return recorder


@examples()
@given(config=CONFIGS, reclaimed=st.integers(0, (1 << 64) - 1), answering=WORDS)
def test_what_is_stored_is_found_through_another_mapping_where_the_layout_says(config, reclaimed, answering) -> None:
    twice = Twice()
    twice.live.config = config
    twice.live.reclaimed_bytes = reclaimed
    twice.live.answering = answering

    found = twice.device()
    assert {name: found[name] for name in BalloonConfig._fields} == config._asdict()
    assert (found.reclaimed_bytes, found.answering, found.reserved) == (reclaimed, answering, 0)
    successor = LiveWords(memoryview(twice.other))
    assert (successor.config, successor.reclaimed_bytes, successor.answering) == (config, reclaimed, answering)
    assert all(twice.ring(index) == {"base": 0, "publishing": 0} for index in range(MAX_QUEUES))


@examples()
@given(index=RINGS, base=WORDS, publishing=WORDS)
def test_a_rings_words_are_its_own(index: int, base: int, publishing: int) -> None:
    twice = Twice()
    twice.live.ring(index).published(base)
    twice.live.ring(index).publishing(publishing)

    assert twice.ring(index) == {"base": base, "publishing": publishing}
    assert LiveWords(memoryview(twice.other)).ring(index).state == RingState(base, publishing=publishing)
    assert all(
        twice.live.ring(other).state == RingState(0, publishing=0) for other in range(MAX_QUEUES) if other != index
    )
    assert not any(twice.other[: DEVICE_WORDS.size])


def test_the_fields_of_the_configuration_space_lie_together_in_its_order() -> None:
    first = DEVICE_WORDS.offset_of("num_pages")
    assert [DEVICE_WORDS.offset_of(name) for name in BalloonConfig._fields] == [first + 4 * at for at in range(4)]


def test_every_word_is_aligned_to_its_size() -> None:
    assert DEVICE_WORDS.offset_of("reclaimed_bytes") % 8 == 0
    assert DEVICE_WORDS.size % RING_WORDS.size == 0
    assert DEVICE_WORDS.size + MAX_QUEUES * RING_WORDS.size == LIVE_BYTES


def test_each_field_of_the_configuration_space_is_stored_once_by_itself(twice: Twice) -> None:
    words = recorded(twice.live, "_words")
    twice.live.config = BalloonConfig(1, 2, 3, 4)
    first = DEVICE_WORDS.offset_of("num_pages") // 4
    assert words.stores == [(first, 1), (first + 1, 2), (first + 2, 3), (first + 3, 4)]


def test_the_reclaimed_bytes_are_stored_once_as_a_whole(twice: Twice) -> None:
    longs = recorded(twice.live, "_longs")
    twice.live.reclaimed_bytes = (1 << 64) - 2
    assert longs.stores == [(DEVICE_WORDS.offset_of("reclaimed_bytes") // 8, (1 << 64) - 2)]


def test_a_staged_answers_checksum_is_stored_once(twice: Twice) -> None:
    words = recorded(twice.live, "_words")
    twice.live.answering = 7
    assert words.stores == [(DEVICE_WORDS.offset_of("answering") // 4, 7)]


def test_a_ring_has_moved_on_before_it_is_no_longer_publishing(twice: Twice) -> None:
    ring = twice.live.ring(2)
    words = recorded(ring, "_words")
    ring.publishing(3)
    ring.published(0x8005)
    assert words.stores == [(1, 3), (0, 0x8005), (1, 0)]


@examples()
@given(st.binary(min_size=LIVE_BYTES, max_size=LIVE_BYTES))
def test_whatever_is_in_memory_is_numbers(garbage: bytes) -> None:
    live = LiveWords(memoryview(bytearray(garbage)))
    assert DEVICE_WORDS.unpack(garbage[: DEVICE_WORDS.size])[:5] == (live.reclaimed_bytes, *live.config)
    states = [live.ring(index).state for index in range(MAX_QUEUES)]
    words = list(RING_WORDS.iter_unpack(garbage[DEVICE_WORDS.size :]))
    assert [(state.base, state.publishing) for state in states] == words


def test_closing_lets_go_of_the_memory() -> None:
    memory = bytearray(LIVE_BYTES)
    view = memoryview(memory)
    LiveWords(view).close()
    view.release()
    memory.clear()
