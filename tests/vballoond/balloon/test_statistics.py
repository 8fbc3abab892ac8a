from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from protocol.balloon.statistics import StatisticTag
from vballoond.balloon.statistics import MAX_STATISTICS, parse_statistics

_TAG = st.integers(0, 20) | st.integers(0, 0xFFFF)
_VALUE = st.integers(0, (1 << 64) - 1)


def packed(*entries: tuple[int, int]) -> bytes:
    return b"".join(tag.to_bytes(2, "little") + value.to_bytes(8, "little") for tag, value in entries)


def test_entries_are_ten_bytes_of_tag_and_value():
    data = bytes.fromhex("0400_0000004000000000_0f00_ffffffffffffffff".replace("_", ""))
    assert parse_statistics(data) == {
        StatisticTag.FREE_MEMORY: 1 << 30,
        StatisticTag.DIRECT_RECLAIM: (1 << 64) - 1,
    }


def test_unknown_tags_are_ignored():
    assert parse_statistics(packed((16, 1), (0, 2), (0xFFFF, 3))) == {StatisticTag.SWAP_IN: 2}


def test_of_a_tag_that_stands_twice_the_last_counts():
    assert parse_statistics(packed((5, 1), (4, 2), (5, 3))) == {
        StatisticTag.TOTAL_MEMORY: 3,
        StatisticTag.FREE_MEMORY: 2,
    }


def test_a_tail_shorter_than_an_entry_is_ignored():
    for tail in range(10):
        assert parse_statistics(packed((4, 7), (5, 8))[: 10 + tail]) == {StatisticTag.FREE_MEMORY: 7}


def test_an_empty_buffer_says_nothing():
    assert parse_statistics(b"") == {}


def test_no_more_entries_are_read_than_the_bound():
    repeated = [(4, 1)] * (MAX_STATISTICS - 1)
    assert parse_statistics(packed(*repeated, (5, 2), (6, 3))) == {
        StatisticTag.FREE_MEMORY: 1,
        StatisticTag.TOTAL_MEMORY: 2,
    }


@examples(200)
@given(st.lists(st.tuples(_TAG, _VALUE), max_size=30))
def test_entries_are_read_in_any_order(entries):
    known = {tag: value for tag, value in entries if tag < 16}
    assert parse_statistics(packed(*entries)) == known


@given(st.binary(max_size=400))
def test_any_bytes_are_statistics_of_known_tags(data):
    assert all(isinstance(tag, StatisticTag) for tag in parse_statistics(data))
