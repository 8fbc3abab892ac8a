"""A worker dies at any line of what serves a balloon: the next one goes on, and the guest never knows.

``tests/support/every_step.py`` says how to have every step tried, or one of them alone.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.every_step import ONLY, Deaths, Setting, Stage, chosen, first_deaths
from support.worker_lives import Zygote

SPLIT = Setting("split", (4, 2, 2))
PACKED = Setting("packed", (1, 4, 2))

pytestmark = [pytest.mark.timeout(7200), pytest.mark.long]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as zygote:
        yield zygote


@pytest.fixture
def stage(zygote: Zygote, tmp_path: Path, setting: Setting) -> Stage:
    return Stage(zygote, tmp_path, setting)


@pytest.mark.parametrize("setting", [SPLIT, PACKED], ids=lambda setting: setting.ring)
async def test_a_worker_may_die_at_any_step(stage: Stage) -> None:
    recorded = await stage.record()
    assert len(recorded) > 800
    deaths = chosen(recorded, seconds=20)
    failures = await stage.try_all(deaths)
    assert not failures, "\n\n".join(failures)
    print(f"{len(deaths)} deaths, {len(stage.not_reached)} of them at what was not reached this time")
    assert ONLY or len(stage.not_reached) <= 0.1 * len(deaths)


@pytest.mark.parametrize("setting", [SPLIT, PACKED], ids=lambda setting: setting.ring)
async def test_the_worker_that_takes_over_may_die_at_any_step_too(stage: Stage) -> None:
    recorded = await stage.record()
    known = {(file, line) for file, line, _ in recorded}
    tried: list[Deaths] = []
    for first in first_deaths(recorded, 2):
        tried += chosen(await stage.record(first), seconds=5, before=(first,), known=known)
    assert len(tried) > 20 or ONLY
    failures = await stage.try_all(tried)
    assert not failures, "\n\n".join(failures)
