import pytest

from vballoond.lab.highalloc.measures import OTHERS, PASSES
from vballoond.lab.highalloc.published import PUBLISHED
from vballoond.lab.highalloc.setting import SETTINGS


def test_every_setting_has_a_table_to_be_compared_with() -> None:
    assert PUBLISHED.keys() == SETTINGS.keys()


@pytest.mark.parametrize(
    ("name", "clean", "patched"), [("v11", (55, 54, 75), (62, 62, 80)), ("v10", (47, 52, 77), (85, 87, 99))]
)
def test_passes_are_as_published(name: str, clean: tuple[int, ...], patched: tuple[int, ...]) -> None:
    published = PUBLISHED[name]
    assert tuple(measure.of(published.clean) for measure in PASSES) == clean
    assert tuple(measure.of(published.patched) for measure in PASSES) == patched


@pytest.mark.parametrize("name", ["v11", "v10"])
def test_a_stall_ends_in_success_or_failure(name: str) -> None:
    for run in (PUBLISHED[name].clean, PUBLISHED[name].patched):
        counters = run.counters
        assert counters["compact_stall"] == counters["compact_success"] + counters["compact_fail"]


@pytest.mark.parametrize("name", ["v11", "v10"])
def test_every_measure_was_published(name: str) -> None:
    for run in (PUBLISHED[name].clean, PUBLISHED[name].patched):
        assert None not in [measure.of(run) for measure in (*PASSES, *OTHERS)]
