"""Everything here runs in virtual time."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from support.backend_rig import running_service, vhost_user_settings
from support.fact_log import FactLog
from support.in_process_driver import Driver, driven
from support.virtual_time import JumpingLoop

from vballoond.service.balloon_service import BalloonService


@pytest.fixture
async def pair() -> AsyncIterator[tuple[BalloonService, Driver]]:
    async with driven(facts=FactLog()) as pair:
        yield pair


@pytest.fixture
async def alone() -> AsyncIterator[BalloonService]:
    """A balloon without a front-end, of a guest whose memory nobody knows."""
    async with running_service(vhost_user_settings()) as service:
        yield service


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], JumpingLoop]]:
    del config, item
    return {"virtual": JumpingLoop}
