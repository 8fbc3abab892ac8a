"""Two balloons as clients of Firecracker find them: before their guest starts, and while it runs. In virtual time."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.backend_rig import open_descriptors, running_service, settled, vhost_user_settings
from support.fake_front_end import RING_FEATURES
from support.fake_holder import FakeHolder
from support.firecracker_client import Client, Memory, answered, client
from support.in_process_driver import DEFLATE, INFLATE, STATS, Driver, driven
from support.virtual_time import JumpingLoop

from protocol.balloon.features import BalloonFeature
from vballoond.service.balloon_service import BalloonService

FEATURES = ("must-tell-host", "stats", "free-page-hint")
HINTS = 3


@dataclass
class Started:
    """A guest of 16 MiB that runs, with a driver that does what the test says."""

    service: BalloonService
    driver: Driver
    client: Client
    memory: Memory
    path: Path

    async def settled(self) -> None:
        """Let the balloon do what it has to do."""
        await settled(self.service)

    async def reset_done(self) -> None:
        """Wait until the driver's reset is complete."""
        for _ in range(100):
            await asyncio.sleep(0)
        assert not self.driver.device.status()

    def load(self) -> None:
        features = RING_FEATURES | BalloonFeature.STATS_VQ | BalloonFeature.FREE_PAGE_HINT
        self.driver.load(INFLATE, DEFLATE, STATS, HINTS, features=features)


@dataclass
class Waiting:
    """A balloon of 64 MiB to which no monitor has come."""

    service: BalloonService
    client: Client
    memory: Memory
    path: Path


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], JumpingLoop]]:
    del config, item
    return {"virtual": JumpingLoop}


@pytest.fixture
def no_descriptor_is_lost() -> Iterator[None]:
    """As many are open afterwards as were before."""
    gc.collect()
    before = open_descriptors()
    yield
    assert open_descriptors() == before


@pytest.fixture
async def holder() -> AsyncIterator[FakeHolder]:
    holder = FakeHolder()
    yield holder
    holder.close()


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "fc.sock"


@pytest.fixture
async def started(socket_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Started]:
    keys: dict[str, Any] = {"features": FEATURES, "stats_interval_s": 5, **getattr(request, "param", {})}
    memory = Memory()
    async with (
        driven(**keys) as (service, driver),
        answered(service, socket_path, memory),
        client(socket_path) as connected,
    ):
        running = Started(service, driver, connected, memory, socket_path)
        running.load()
        yield running


@pytest.fixture
async def waiting(socket_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Waiting]:
    settings = vhost_user_settings(**{"memory": "64MiB", **getattr(request, "param", {})})
    memory = Memory()
    async with (
        running_service(settings) as service,
        answered(service, socket_path, memory),
        client(socket_path) as connected,
    ):
        yield Waiting(service, connected, memory, socket_path)
