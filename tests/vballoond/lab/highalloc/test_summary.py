import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.highalloc import SMALL, make_result, make_summary

from vballoond.lab.highalloc.measures import OTHERS, PASSES
from vballoond.lab.highalloc.setting import V10, V11
from vballoond.lab.highalloc.summary import Spread, Summary

PASS_1 = PASSES[0]
STALLS = next(measure for measure in OTHERS if measure.name == "compact_stall")
percents = st.floats(0, 100)


def test_mean_and_sample_deviation_are_of_the_runs_of_a_kind() -> None:
    row = make_summary(clean=[50, 52, 54], patched=[60, 60, 63]).row(PASS_1)
    assert row.clean == Spread(52.0, 2.0)
    assert row.patched == Spread(61.0, math.sqrt(3))
    assert row.difference == 9.0


def test_a_single_run_has_no_deviation() -> None:
    row = make_summary(clean=[50], patched=[45.5]).row(PASS_1)
    assert (row.clean, row.patched, row.difference) == (Spread(50.0, 0.0), Spread(45.5, 0.0), -4.5)


@given(st.lists(st.tuples(percents, percents), min_size=2, max_size=6))
def test_rows_agree_with_the_runs(values: list[tuple[float, float]]) -> None:
    clean, patched = ([pair[kind] for pair in values] for kind in (0, 1))
    row = make_summary(clean, patched).row(PASS_1)
    assert row.clean.mean == pytest.approx(sum(clean) / len(clean))
    assert row.patched.sd == pytest.approx(statistics.stdev(patched))
    assert row.difference == row.patched.mean - row.clean.mean


def test_the_published_figures_are_those_of_the_setting() -> None:
    for setting, difference in ((V11, 7), (V10, 38)):
        assert make_summary([50], [60], setting).row(PASS_1).published_difference == difference


def test_what_only_one_kind_counts_has_no_difference() -> None:
    runs = [make_result(1, False), make_result(1, True, compact_stall=4)]
    row = Summary(SMALL, runs).row(STALLS)
    assert (row.clean, row.patched, row.difference) == (None, Spread(4.0, 0.0), None)


def test_seeds_are_told_once_in_order() -> None:
    runs = [make_result(seed, kind) for seed in (300, 7) for kind in (False, True)]
    assert Summary(SMALL, runs).seeds == [7, 300]


def test_json_has_the_shape_that_scripts_rely_on() -> None:
    runs = [make_result(4, False, (50.0, 51.0, 75.0), compact_stall=9), make_result(4, True, (57.5, 60.0, 75.0))]
    assert json.loads(json.dumps(Summary(SMALL, runs).as_json())) == {
        "experiment": "highalloc",
        "guest_mib": 64,
        "seeds": [4],
        "rows": {
            "pass1": {
                "clean": {"mean": 50.0, "sd": 0.0},
                "patched": {"mean": 57.5, "sd": 0.0},
                "difference": 7.5,
                "published": {"clean": 55, "patched": 62},
            },
            "pass2": {
                "clean": {"mean": 51.0, "sd": 0.0},
                "patched": {"mean": 60.0, "sd": 0.0},
                "difference": 9.0,
                "published": {"clean": 54, "patched": 62},
            },
            "rested": {
                "clean": {"mean": 75.0, "sd": 0.0},
                "patched": {"mean": 75.0, "sd": 0.0},
                "difference": 0.0,
                "published": {"clean": 75, "patched": 80},
            },
        },
        "runs": [
            {
                "seed": 4,
                "balloon_compaction": False,
                "pass1": 50.0,
                "pass2": 51.0,
                "rested": 75.0,
                "counters": {"compact_stall": 9},
            },
            {"seed": 4, "balloon_compaction": True, "pass1": 57.5, "pass2": 60.0, "rested": 75.0, "counters": {}},
        ],
    }
