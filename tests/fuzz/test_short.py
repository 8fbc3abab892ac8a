"""A few seconds of ``make fuzz``."""

import os
import signal
from pathlib import Path

import pytest

from fuzz.finding import Finding
from fuzz.run import Run

pytestmark = pytest.mark.long

SEED = 1
VHOST_USER = ("messages-split", "messages-packed", "rings-split", "rings-packed", "attacks")


@pytest.mark.parametrize(
    ("guests", "garbage", "steps"),
    [(("well-split", "well-packed", "modelled"), VHOST_USER, 3), (("modelled",), ("requests",), 40)],
    ids=["vhost-user", "http"],
)
def test_two_rounds_find_nothing_and_all_targets_are_reached(
    tmp_path: Path, guests: tuple[str, ...], garbage: tuple[str, ...], steps: int
) -> None:
    with Run(SEED, tmp_path, (*guests, *garbage)) as run:
        for _ in range(2):
            run.round(lambda done: done < steps)
        run.finish()
        reached = {name: count for name, count in run.targets_reached.items() if name in guests}
        assert reached == dict.fromkeys(guests, 2 * steps)
        assert {diary.steps for diary in run.crew.diaries.values()} == {2 * steps}


def test_a_daemon_that_died_is_found(tmp_path: Path) -> None:
    with Run(SEED, tmp_path, ["well-split"]) as run:
        os.kill(run.daemon.api.get("/healthz")["pid"], signal.SIGKILL)
        with pytest.raises(Finding, match="well-split, step 0"):
            run.round(lambda done: done < 1)
        with pytest.raises(Finding, match="status -9"):
            run.round(lambda _: False)
        with pytest.raises(Finding, match="status -9"):
            run.finish()
