"""Real guests: their initial ramdisks, and the daemon that serves them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support import qemu, uml
from support.served import Served

from vballoond.balloon.facts import Fact
from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.daemon import Daemon

Serving = Callable[..., "AsyncIterator[Served]"]


@pytest.fixture(scope="session")
def uml_initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := uml.missing():
        pytest.skip(reason)
    return uml.initrd(tmp_path_factory.mktemp("uml"))


@pytest.fixture(scope="session")
def qemu_initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := qemu.missing():
        pytest.skip(reason)
    return qemu.initrd(tmp_path_factory.mktemp("qemu"))


@pytest.fixture
def serving(tmp_path: Path):
    """Gives a context manager: the daemon with one vhost-user balloon for each name."""

    @asynccontextmanager
    async def serve(*names: str, observer: Callable[[Fact], None] | None = None, **settings: object):
        balloons = tuple(
            BalloonSettings(name=name, transport="vhost-user", socket=tmp_path / f"{name}.sock", **settings)
            for name in names
        )
        everything = Settings(http=HttpSettings(listen="127.0.0.1:0"), balloon=balloons)
        async with Daemon(everything, lambda _: observer) as daemon, Served.client(daemon, tmp_path) as served:
            yield served

    return serve
