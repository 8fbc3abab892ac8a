"""Ten modelled guests with live workloads, one daemon, one policy: what must hold, round by round, in virtual time."""

import asyncio
from itertools import pairwise

import pytest

pytestmark = pytest.mark.long

NAMES = [f"g{number}" for number in range(10)]
WORKLOADS = ("idle", "desktop", "build", "batch", "file-server")
MINUTES = 3


@pytest.mark.parametrize("name", ["watermark", "proportional"])
async def test_ten_guests_and_a_policy_settle_within_their_bounds(bench, name: str) -> None:
    guests = [
        {"name": guest, "max": "40MiB", "workload": WORKLOADS[number % len(WORKLOADS)]}
        for number, guest in enumerate(NAMES)
    ]
    async with bench(*guests, name=name, interval_s=5, start=True) as it:
        services = [it.life.service(guest) for guest in NAMES]
        it.host.total_mib, it.host.available_mib = 1000, 20
        it.host.given_mib = lambda: sum(service.held_frames for service in services) / 256
        targets: list[list[float]] = []
        for _ in range(MINUTES * 12):
            await asyncio.sleep(5)
            targets.append([it.target_mib(guest) for guest in NAMES])
            assert all(0 <= target <= 40 for target in targets[-1])
            assert (await it.runner.status()).acting.problem is None
        assert len(it.scripts.views) >= MINUTES * 12
        assert sum(targets[-1]) > 20
        for series in zip(*targets, strict=True):
            steps = [after - before for before, after in pairwise(series) if after != before]
            turns = sum(one * other < 0 for one, other in pairwise(steps))
            assert turns <= 2 * MINUTES, series
        assert all(event["problem"] is None for event in it.events())
