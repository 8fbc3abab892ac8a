import pytest
from support.highalloc import make_result

from vballoond.lab.highalloc.measures import OTHERS, PASSES

BY_NAME = {measure.name: measure for measure in (*PASSES, *OTHERS)}


def test_passes_are_read_from_a_run() -> None:
    run = make_result(1, True, (1.0, 2.0, 3.0))
    assert [measure.of(run) for measure in PASSES] == [1.0, 2.0, 3.0]


def test_a_counter_is_read_by_its_name() -> None:
    run = make_result(1, True, compact_stall=7)
    assert BY_NAME["compact_stall"].of(run) == 7


def test_what_was_not_counted_is_none_and_not_zero() -> None:
    run = make_result(1, True)
    assert {measure.of(run) for measure in OTHERS} == {None}


def test_huge_faults_are_those_served_of_all() -> None:
    assert BY_NAME["huge_faults"].of(make_result(1, True, thp_fault_alloc=3, thp_fault_fallback=1)) == 75.0
    assert BY_NAME["huge_faults"].of(make_result(1, True, thp_fault_alloc=3)) == 100.0


def test_no_huge_faults_are_no_rate() -> None:
    assert BY_NAME["huge_faults"].of(make_result(1, True, thp_fault_alloc=0, thp_fault_fallback=0)) is None


@pytest.mark.parametrize("measure", OTHERS)
def test_percents_are_told_from_counts(measure) -> None:
    assert measure.percent == (measure.name == "huge_faults")
