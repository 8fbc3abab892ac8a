"""A few kills of what ``make torture`` does by the hundred: real guests go on whenever a worker dies."""

from pathlib import Path

import pytest
from support import uml

from torture.plan import HolderName, Plan
from torture.run import Run

pytestmark = pytest.mark.real_guest

SEED = 1


@pytest.mark.parametrize(
    ("kills", "ring", "holder"), [(6, "split", "keeper"), (6, "packed", "keeper"), (3, "packed", "systemd")]
)
async def test_guests_do_not_notice_that_workers_are_killed(
    tmp_path: Path, kills: int, ring: str, holder: HolderName
) -> None:
    if reason := uml.missing():
        pytest.skip(reason)
    plan = Plan(kills, ring, SEED, holder, check_every=3, visitors=1)
    async with Run(plan, tmp_path, print) as run:
        await run.go()
        print(run.line())
