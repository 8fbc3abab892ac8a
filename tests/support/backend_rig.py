"""A balloon behind a vhost-user back-end, with front-ends that a test connects at will."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from support.fact_log import FactLog
from support.fake_front_end import FakeFrontEnd, FakeGuest

from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.holder.no_holder import NoHolder
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.service.served_balloon import Observer
from vballoond.transport.vhost_user.backend import Backend, Fixtures


def vhost_user_settings(**keys: object) -> BalloonSettings:
    """A balloon of transport vhost-user; its socket's path is never used unless it is given."""
    return BalloonSettings.model_validate(
        {"name": "vm1", "transport": "vhost-user", "socket": Path("unused.sock"), "stats_interval_s": 0, **keys}
    )


@asynccontextmanager
async def running_service(
    settings: BalloonSettings,
    facts: Observer | None = None,
    offload: Offload | None = None,
    clock: Clock | None = None,
    **more: Any,
) -> AsyncIterator[BalloonService]:
    """A balloon that is served, with the event loop's time, and blocking calls run inline."""
    clock = clock or Clock(asyncio.get_running_loop().time)
    service = BalloonService(settings, clock, offload or Offload(), facts, **more)
    service.start()
    try:
        yield service
    finally:
        await service.stop()


async def settled(service: BalloonService) -> None:
    """Let everything happen that can happen without anything further coming from outside."""
    for _ in range(10):
        await asyncio.sleep(0)
        async with service.lock:
            pass


class BackendRig:
    """One balloon; ``connections`` are the back-ends that serve it, finished ones too."""

    def __init__(self, service: BalloonService, facts: FactLog) -> None:
        self.service: Final = service
        self.facts: Final = facts
        self.backend: Backend | None = None
        self._ends: Final[list[tuple[FakeFrontEnd, asyncio.Task[None]]]] = []
        self._guests: Final[list[FakeGuest]] = []

    def connect(self, guest: FakeGuest | None = None) -> FakeFrontEnd:
        """Connect a front-end, with a guest of its own unless one is given."""
        if guest is None:
            guest = self.guest()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.backend = Backend(self.service, Fixtures.make(theirs.detach()), NoHolder(), "vm1/1/")
        front_end = FakeFrontEnd(ours, guest)
        self._ends.append((front_end, asyncio.create_task(self.backend.run())))
        return front_end

    def guest(self, *queues: int, **keys: object) -> FakeGuest:
        """Make a guest with these queues set up."""
        guest = FakeGuest(**keys)
        self._guests.append(guest)
        for index in queues:
            guest.add_queue(index)
        return guest

    async def disconnect(self, front_end: FakeFrontEnd) -> None:
        """Close a front-end's connection and wait until nothing is left of it."""
        front_end.close()
        await next(task for end, task in self._ends if end is front_end)

    async def close(self) -> None:
        for front_end, _ in self._ends:
            front_end.close()
        try:
            await asyncio.gather(*(task for _, task in self._ends))
        finally:
            for guest in self._guests:
                guest.close()


@asynccontextmanager
async def backend_rig(**settings: object) -> AsyncIterator[BackendRig]:
    facts = FactLog()
    async with running_service(vhost_user_settings(**settings), facts) as service:
        rig = BackendRig(service, facts)
        try:
            yield rig
        finally:
            await rig.close()


def open_descriptors() -> int:
    """How many descriptors this process has.

    From the first call in a test to its end no garbage is collected: an exception that an earlier test caught may have
    a mapping through its traceback, and would have it just until some search between two calls.
    """
    if gc.isenabled():
        gc.collect()
        gc.disable()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
