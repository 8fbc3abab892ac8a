from hypothesis import given
from hypothesis import strategies as st

from vballoond.histogram import Histogram


def test_an_observation_counts_in_its_bucket_and_all_above() -> None:
    histogram = Histogram((0.1, 1, 10))
    for value in (0.05, 0.1, 0.5, 5, 50):
        histogram.observe(value)
    assert histogram.cumulative() == [("0.1", 2), ("1", 3), ("10", 4), ("+Inf", 5)]
    assert histogram.sum == 55.65


@given(st.lists(st.floats(0, 1e6)))
def test_every_observation_is_in_the_last_bucket(values: list[float]) -> None:
    histogram = Histogram((0.5, 3, 1000))
    for value in values:
        histogram.observe(value)
    counts = [count for _, count in histogram.cumulative()]
    assert counts == sorted(counts)
    assert counts == [sum(value <= bound for value in values) for bound in (0.5, 3, 1000, float("inf"))]
