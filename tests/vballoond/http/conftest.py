"""The API over two balloons: "demo", whose guest the test drives, and "vm1", to which no front-end has come."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.api import Api
from support.backend_rig import running_service, vhost_user_settings
from support.fact_log import FactLog
from support.in_process_driver import Driver, driven

from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.registry import Registry
from vballoond.service.balloon_service import BalloonService


@dataclass
class Balloons:
    demo: BalloonService
    driver: Driver
    demo_facts: FactLog
    vm1: BalloonService
    vm1_facts: FactLog
    registry: Registry


@pytest.fixture
async def balloons() -> AsyncIterator[Balloons]:
    demo_facts, vm1_facts = FactLog(), FactLog()
    async with (
        driven(facts=demo_facts) as (demo, driver),
        running_service(vhost_user_settings(memory="64MiB"), vm1_facts) as vm1,
    ):
        registry = Registry()
        registry.add(demo)
        registry.add(vm1)
        yield Balloons(demo, driver, demo_facts, vm1, vm1_facts, registry)


@pytest.fixture
async def api(balloons: Balloons, aiohttp_client: Any) -> Api:
    return Api(await aiohttp_client(build_app(balloons.registry, Offload())))
