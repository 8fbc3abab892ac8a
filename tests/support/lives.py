"""A daemon's end of one connection that is killed and goes on, life after life, over what a holder has.

Killing happens in the test's own process: the holder hears no more of that life, what it had in memory files is put
back as it was at that instant, and then its tasks and descriptors are cleared away as the kernel would.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from support.backend_rig import settled, vhost_user_settings
from support.fact_log import FactLog
from support.fake_front_end import RING_FEATURES, FakeFrontEnd, FakeGuest, qemu_connect, qemu_start
from support.fake_holder import FakeHolder

from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature
from vballoond.clock import Clock
from vballoond.errors import StateError
from vballoond.memory.frames import FrameRange
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.state.sealed_file import map_sealed
from vballoond.transport.vhost_user.backend import Backend, Fixtures
from vballoond.transport.vhost_user.left import LeftBalloon, connection_prefix, sort_out

_PATIENCE_S: Final = 20.0
_PREFIX: Final = connection_prefix("vm1", 1)


class Life:
    """One process: a balloon and the back-end that serves it."""

    def __init__(self, holder: FakeHolder, **settings: object) -> None:
        self.holder: Final = holder
        self.facts: Final = FactLog()
        clock = Clock(asyncio.get_running_loop().time)
        self.service: Final = BalloonService(vhost_user_settings(**settings), clock, Offload(), self.facts)
        self.service.start()
        self.backend: Backend
        self._task: asyncio.Task[None]

    def serve(self, fixtures: Fixtures, left: LeftBalloon | None = None) -> None:
        others = left.connection.others if left and left.connection else None
        self.backend = Backend(self.service, fixtures, self.holder, _PREFIX, others)
        self._task = asyncio.create_task(self.backend.run())

    async def hang(self, owner: Any, method: str, *, behind: bool = False) -> asyncio.Event:
        """Have a method never return, once it is called, or ``behind`` what it does; the event says that it was."""
        reached, original = asyncio.Event(), getattr(owner, method)

        async def hanging(*arguments: Any, **keys: Any) -> None:
            if behind:
                await original(*arguments, **keys)
            reached.set()
            await asyncio.Event().wait()

        setattr(owner, method, hanging)
        return reached

    async def kill(self) -> FakeHolder:
        """End it as SIGKILL does; return the holder's side of the next one."""
        successor = self.holder.successor()
        files = _memory_files(successor)
        contents = [file[:] for file in files]
        self.service._serving._task.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, self.service._serving._task, return_exceptions=True)
        await self.service.stop()
        for file, content in zip(files, contents, strict=True):
            file[:] = content
            file.close()
        return successor

    async def end(self) -> None:
        """Wait until the connection, which the front-end closed, is over."""
        async with asyncio.timeout(_PATIENCE_S):
            await self._task
        await self.service.stop()


class Lives:
    """The lives of one connection, one at a time.

    Args:
        settings: Of the balloon.
    """

    def __init__(self, **settings: object) -> None:
        self.first_holder: Final = FakeHolder()
        self._settings: Final = settings
        self.life = Life(self.first_holder, **settings)
        self.packed: Final = settings.get("ring") == "packed"
        self._guests: Final[list[FakeGuest]] = []
        self._front_ends: Final[list[FakeFrontEnd]] = []

    @property
    def service(self) -> BalloonService:
        return self.life.service

    @property
    def holder(self) -> FakeHolder:
        return self.life.holder

    def held(self) -> list[tuple[int, int]]:
        frame_map = self.service.device.frame_map
        ranges = [(part.first, part.count) for part in frame_map.ranges(FrameRange(0, 1 << 32))]
        assert sum(count for _, count in ranges) == frame_map.held_frames
        return ranges

    def guest(self, *queues: int, **keys: Any) -> FakeGuest:
        guest = FakeGuest(**keys)
        self._guests.append(guest)
        for index in queues:
            guest.add_queue(index, packed=self.packed)
        return guest

    def connect(self, guest: FakeGuest) -> FakeFrontEnd:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.life.serve(Fixtures.make(theirs.detach()))
        self._front_ends.append(FakeFrontEnd(ours, guest))
        return self._front_ends[-1]

    async def started(
        self, *queues: int, features: int = RING_FEATURES, memory: Request = Request.SET_MEM_TABLE, **keys: Any
    ) -> FakeFrontEnd:
        """Connect and start as QEMU does, with these queues."""
        vm = self.connect(self.guest(*queues, **keys))
        await qemu_connect(vm)
        await qemu_start(vm, features | (RingFeature.RING_PACKED if self.packed else 0), memory=memory)
        return vm

    async def killed(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Kill this life and begin the next; ``meanwhile`` there is none."""
        holder = await self.life.kill()
        if meanwhile is not None:
            meanwhile()
        self.life = Life(holder, **self._settings)
        left = sort_out(holder.inherited())["vm1"]
        assert left.connection is not None
        self.life.serve(left.connection.fixtures(), left)
        await settled(self.service)

    async def killed_when(self, reached: asyncio.Event) -> None:
        """Kill it at this instant, and begin the next."""
        async with asyncio.timeout(_PATIENCE_S):
            await reached.wait()
        await self.killed()

    async def close(self) -> None:
        for front_end in self._front_ends:
            front_end.close()
        try:
            if self._front_ends:
                await self.life.end()
        finally:
            await self.service.stop()
            for guest in self._guests:
                guest.close()
            self.holder.close()


@asynccontextmanager
async def lives(**settings: object) -> AsyncIterator[Lives]:
    made = Lives(**settings)
    try:
        yield made
    finally:
        await made.close()


def _memory_files(holder: FakeHolder) -> list[Any]:
    """The mapped files in which a life wrote its state down."""
    files = []
    for fd in holder.files.values():
        try:
            files.append(map_sealed(fd))
        except StateError:
            continue
    return files
