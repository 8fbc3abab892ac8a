from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.balloon.statistics import StatisticTag
from vballoond.balloon.statistics import Statistics
from vballoond.balloon.statistics_quality import ALL_ONES, AMOUNTS_NOW, Quality, judge

AT = datetime(2026, 1, 1, tzinfo=UTC)
GIB = 1 << 30
COUNTERS = sorted(set(StatisticTag) - AMOUNTS_NOW)
ALL = dict.fromkeys(StatisticTag, 1)


def judged(
    values: dict[StatisticTag, int],
    before: dict[StatisticTag, int] | None = None,
    *,
    age_s: float = 0,
    interval_s: float = 5,
    running: bool = True,
    memory_bytes: int | None = GIB,
) -> Quality:
    statistics = Statistics(values, AT, before or {})
    return judge(statistics, age_s=age_s, interval_s=interval_s, running=running, memory_bytes=memory_bytes)


def test_what_is_complete_new_and_possible_is_not_doubted() -> None:
    values = {
        **ALL,
        StatisticTag.TOTAL_MEMORY: GIB,
        StatisticTag.FREE_MEMORY: GIB,
        StatisticTag.AVAILABLE_MEMORY: GIB,
        StatisticTag.DISK_CACHES: GIB,
    }
    assert judged(values, values) == Quality(stale=False, missing=(), doubtful={})


@pytest.mark.parametrize(
    ("age_s", "interval_s", "stale"),
    [(0, 5, False), (16, 5, False), (16.001, 5, True), (1, 0, False), (1.001, 0, True), (1.3, 0.1, False)],
)
def test_three_intervals_and_a_second_make_it_stale(age_s: float, interval_s: float, stale: bool) -> None:
    assert judged(ALL, age_s=age_s, interval_s=interval_s).stale is stale


def test_without_a_driver_everything_is_stale() -> None:
    assert judged(ALL, running=False).stale


@pytest.mark.parametrize("tag", StatisticTag)
def test_what_is_not_sent_is_missing(tag: StatisticTag) -> None:
    values = dict(ALL)
    del values[tag]
    assert judged(values).missing == (tag,)


def test_of_nothing_everything_is_missing_and_nothing_doubted() -> None:
    assert judged({}) == Quality(stale=False, missing=tuple(StatisticTag), doubtful={})


@pytest.mark.parametrize("tag", StatisticTag)
def test_all_ones_are_no_value(tag: StatisticTag) -> None:
    doubtful = judged({tag: ALL_ONES}).doubtful
    assert list(doubtful) == [tag]
    assert "all bits are ones" in doubtful[tag]


@pytest.mark.parametrize("tag", sorted(AMOUNTS_NOW - {StatisticTag.TOTAL_MEMORY}))
def test_no_part_is_above_the_total(tag: StatisticTag) -> None:
    total = {StatisticTag.TOTAL_MEMORY: 4096}
    assert judged({**total, tag: 4096}).doubtful == {}
    assert judged({**total, tag: 4097}).doubtful == {tag: "above total_memory, which is 4096"}
    assert judged({tag: 4097}).doubtful == {}


def test_the_total_is_not_above_the_guests_memory() -> None:
    total = StatisticTag.TOTAL_MEMORY
    assert judged({total: GIB}).doubtful == {}
    assert judged({total: GIB + 1}).doubtful == {total: f"above the guest's memory, which is {GIB}"}
    assert judged({total: GIB + 1}, memory_bytes=None).doubtful == {}


@pytest.mark.parametrize("tag", COUNTERS)
def test_counters_do_not_fall(tag: StatisticTag) -> None:
    assert judged({tag: 7}, {tag: 7}).doubtful == {}
    assert judged({tag: 6}, {tag: 7}).doubtful == {tag: "a counter that fell: it was 7"}
    assert judged({tag: 6}).doubtful == judged({tag: 6}, {tag: ALL_ONES}).doubtful == {}


@pytest.mark.parametrize("tag", sorted(AMOUNTS_NOW))
def test_amounts_may_fall(tag: StatisticTag) -> None:
    assert judged({tag: 6}, {tag: 7}).doubtful == {}


_VALUES = st.dictionaries(st.sampled_from(StatisticTag), st.integers(0, ALL_ONES))


@given(_VALUES, _VALUES, st.none() | st.integers(1, 1 << 50))
def test_each_tag_is_missing_or_there_and_doubted_only_if_it_is_there(values, before, memory_bytes) -> None:
    quality = judged(values, before, memory_bytes=memory_bytes)
    assert {*quality.missing} | {*values} == {*StatisticTag}
    assert not {*quality.missing} & {*values}
    assert {*quality.doubtful} <= {*values}
    assert all(quality.doubtful.values())
