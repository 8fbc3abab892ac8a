"""Processes of a daemon, one after the other and all in the test's own: their fleets, over one holder."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from support.backend_rig import settled
from support.fake_front_end import FakeFrontEnd, FakeGuest, pfns, qemu_connect, qemu_start
from support.fake_holder import FakeHolder

from protocol.virtio import RingFeature
from vballoond.config.models import BalloonSettings
from vballoond.events.log import EventLog
from vballoond.fleet import Fleet
from vballoond.offload import Offload
from vballoond.registry import Registry
from vballoond.service.balloon_service import BalloonService
from vballoond.state.disk import Disk
from vballoond.transport.vhost_user.left import sort_out

MIB: Final = 1 << 20


class Life:
    """One process: its fleet, its registry and its disk."""

    def __init__(self, holder: FakeHolder, directory: Path | None) -> None:
        offload = Offload()
        self.holder: Final = holder
        self.registry: Final = Registry()
        self.disk: Final = Disk(directory, offload)
        self.events: Final = EventLog("life", lambda: datetime.now(UTC))
        self.moved: Final[list[None]] = []
        self.fleet: Final = Fleet(
            *(self.registry, offload, holder, self.disk, lambda _: None, self.events), lambda: self.moved.append(None)
        )

    async def open(self, *configured: BalloonSettings, again: bool = False, settle: bool = True) -> None:
        await self.fleet.open(configured, sort_out(self.holder.inherited()), again=again)
        if settle:
            await self.settled()

    async def apply(self, *configured: BalloonSettings) -> list[str]:
        done = await self.fleet.apply(configured)
        await self.settled()
        return done

    async def settled(self) -> None:
        """Let everything happen that can happen by itself."""
        for service in self.fleet.services:
            await settled(service)

    async def keep(self) -> None:
        """Put on disk what is set now."""
        await self.disk.keep(self.fleet.kept())

    @property
    def names(self) -> list[str]:
        """What is listed."""
        return [service.settings.name for service in self.registry]

    def service(self, name: str) -> BalloonService:
        return self.registry.find(name)

    async def close(self) -> None:
        await self.fleet.close()
        await self.disk.close()


@asynccontextmanager
async def life(holder: FakeHolder, directory: Path | None = None) -> AsyncIterator[Life]:
    """A process that ends cleanly."""
    alive = Life(holder, directory)
    try:
        yield alive
    finally:
        await alive.close()


class Machine:
    """A virtual machine that is connected, with its driver loaded."""

    def __init__(self, guest: FakeGuest, front_end: FakeFrontEnd) -> None:
        self.guest: Final = guest
        self.front_end: Final = front_end
        self._next_pfn = guest.first_free_pfn()

    async def target_frames(self) -> int:
        """What the driver reads in its configuration space."""
        return int.from_bytes(await self.front_end.config(0, 4), "little")

    async def told_of_target(self, frames: int) -> None:
        """Wait until a config change is announced that brings this target."""
        async with asyncio.timeout(20):
            while True:
                await self.front_end.config_change()
                if await self.target_frames() == frames:
                    return

    async def inflate(self) -> None:
        """Give a frame away, and see it taken."""
        await self.guest.queues[0].served(pfns([self._next_pfn]))
        self._next_pfn += 1

    def close(self) -> None:
        self.front_end.close()
        self.guest.close()


async def machine(path: Path, **queue: Any) -> Machine:
    """Start a virtual machine on a balloon's socket."""
    guest = FakeGuest()
    for index in (0, 1):
        guest.add_queue(index, **queue)
    front_end = await FakeFrontEnd.connect(path, guest)
    await qemu_connect(front_end)
    await qemu_start(front_end, RingFeature.VERSION_1 | RingFeature.EVENT_IDX)
    return Machine(guest, front_end)
