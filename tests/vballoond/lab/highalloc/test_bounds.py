import pytest
from support.highalloc import SMALL, make_result

from vballoond.lab.highalloc.bounds import shortfalls
from vballoond.lab.highalloc.summary import Summary


def differing_by(*points: float) -> Summary:
    """A summary whose patched means lie so many points above the clean ones, over two seeds."""
    runs = []
    for seed, noise in ((1, -1.0), (2, 1.0)):
        runs.append(make_result(seed, False, (50.0 + noise,) * 3))
        runs.append(make_result(seed, True, tuple(50.0 + noise + more for more in points)))
    return Summary(SMALL, runs)


def test_the_least_gaps_are_enough() -> None:
    assert shortfalls(differing_by(3.0, 5.0, 0.0)) == []


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ((2.75, 5.0, 0.0), "Pass 1: what balloon compaction adds is +2.8 points, and must be +3 at least"),
        ((3.0, 4.75, 0.0), "Pass 2: what balloon compaction adds is +4.8 points, and must be +5 at least"),
        ((3.0, 5.0, -0.5), "while Rested: what balloon compaction adds is -0.5 points, and must be +0 at least"),
    ],
)
def test_each_pass_has_a_bound_of_its_own(points: tuple[float, ...], said: str) -> None:
    assert shortfalls(differing_by(*points)) == [said]


def test_all_that_is_missed_is_said() -> None:
    assert [sentence.split(":")[0] for sentence in shortfalls(differing_by(-1, -1, -1))] == [
        "Pass 1",
        "Pass 2",
        "while Rested",
    ]


def test_a_kind_without_runs_shows_nothing() -> None:
    sentences = shortfalls(Summary(SMALL, [make_result(1, True)]))
    assert len(sentences) == 3
    assert "is not known" in sentences[0]
