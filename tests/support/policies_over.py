"""Policies at work over the balloons of an API's tests, asked in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.in_process_driver import DEFLATE, INFLATE
from support.policy_host import PolicyHost
from support.scripts_here import ScriptsHere

from vballoond.clock import Clock
from vballoond.config.policy import PolicySettings
from vballoond.events.log import EventLog
from vballoond.offload import Offload
from vballoond.policy import Policy
from vballoond.runner.runner import PolicyRunner


@asynccontextmanager
async def policies_over(balloons: Any, *policies: type[Policy]) -> AsyncIterator[PolicyRunner]:
    """Run ``policies`` and those built in over ``balloons``, whose driver is loaded and whose guests are no news."""
    clock = Clock(asyncio.get_running_loop().time)
    runner = PolicyRunner(
        *(PolicySettings(), balloons.registry, Offload(), EventLog("run", clock.now), clock),
        read_host=PolicyHost().read,
        make_scripts=lambda _: ScriptsHere(*policies),
    )
    balloons.driver.load(INFLATE, DEFLATE)
    for service in balloons.registry:
        service.driven_since_s = float("-inf")
    try:
        yield runner
    finally:
        await runner.close()
