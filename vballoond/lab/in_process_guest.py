"""A modelled guest behind a balloon of transport "in-process", run by the daemon's event loop."""

import asyncio
import zlib
from typing import Final, Self

from guest_driver.guest import Guest
from guest_driver.kernel import Thread
from guest_driver.mm.zone import Array, ZoneCount
from guest_driver.workload.machine import Machine
from guest_driver.workload.scenario import Scenario, ScenarioError, load_scenario
from protocol.balloon.page_frames import FRAME_BYTES

from ..errors import StartError
from ..memory.guest_memory import GuestMemory
from ..memory.region import MappedRegion, RegionPlace
from ..offload import Offload
from ..service.balloon_service import BalloonService
from ..transport.in_process import InProcessDevice
from .guest_view import free_blocks_of, guest_view_of
from .highalloc.run import warm_up

_STEPS: Final = 4
"""Of the guest's threads, before the event loop has its turn: each takes a fraction of a millisecond at most."""

_INLINE_FRAMES: Final = 256  # a mebibyte is touched in a fraction of a millisecond


class InProcessGuest:
    """A guest that boots, loads its balloon driver, and runs until it is stopped.

    It has touched half of its memory by then: a quarter stays in use, a quarter was freed again. So there is something
    that the host can get back, and something that it never gave. Then its workload begins, if it has one.

    The host is charged for what the guest's programs use: after each step of the guest, what came into use is touched,
    outside of the event loop where that may take long. The guest stands still meanwhile.

    Args:
        service: The balloon that serves it.
        guest: The guest, from :meth:`make`.
        scenario: Its workload.
        offload: Where its memory is touched.
    """

    @classmethod
    async def make(cls, service: BalloonService, offload: Offload) -> Self:
        """Make the guest that the balloon's settings ask for.

        Raises:
            OSError: The host has not got the memory.
            StartError: Its workload cannot be read.
        """
        settings = service.settings
        assert settings.memory is not None
        try:
            scenario = await offload.run(load_scenario, settings.workload) if settings.workload is not None else None
        except ScenarioError as error:
            raise StartError(f"balloon {settings.name!r}: {error}", exit_status=2) from error
        seed = _seed(settings.name)
        guest = await offload.run(Guest, settings.memory, settings.name, interface=settings.interface, seed=seed)
        return cls(service, guest, scenario, offload)

    def __init__(self, service: BalloonService, guest: Guest, scenario: Scenario | None, offload: Offload) -> None:
        self.guest: Final = guest
        self.machine: Final = Machine(guest.mm, _seed(service.settings.name))
        """Its programs."""
        self._scenario: Final = scenario
        self._service: Final = service
        self._offload: Final = offload
        self._loop: Final = asyncio.get_running_loop()
        self._stopped = False
        self._due: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        place = RegionPlace(guest_address=0, size_bytes=self.guest.ram.size_bytes, user_address=0, file_offset=0)
        self._region: Final = MappedRegion(place, self.guest.ram.fd)
        self._device: Final = InProcessDevice(service, GuestMemory([self._region]), self)
        self._boot: asyncio.Task[None] | None = None
        self._touching: asyncio.Task[None] | None = None
        service.guest_view = guest_view_of(guest)
        service.free_blocks = free_blocks_of(guest)

    def start(self) -> None:
        """Boot, in a task of the running event loop."""
        self._boot = self._loop.create_task(self._run_boot(), name=f"boot {self._service.settings.name}")

    async def booted(self) -> None:
        """Wait until the driver is loaded."""
        assert self._boot is not None
        await self._boot

    async def remove_driver(self) -> None:
        """Remove the balloon driver, as rmmod does, and wait until it is gone."""
        balloon = self.guest.balloon
        assert balloon is not None
        removed = asyncio.Event()

        def remove() -> Thread:
            yield from balloon.remove()
            removed.set()

        self.guest.kernel.spawn(remove())
        self._run_soon()
        await removed.wait()
        self.guest.balloon = None

    async def stop(self) -> None:
        """Power off."""
        self._stopped = True
        for task in (self._boot, self._touching):
            if task is not None:
                # Memory is touched in a thread, which cannot be cancelled and must not outlive the memory.
                await asyncio.gather(task, return_exceptions=True)
        await self._device.close(self._region.close)
        self._cancel_runs()
        self.guest.close()

    def queue_interrupt(self, index: int) -> None:
        """The device used buffers of a queue."""
        if self.guest.balloon is not None:
            self.guest.balloon.queue_interrupt(index)
        self._run_soon()

    def config_interrupt(self) -> None:
        """The device's configuration changed."""
        if self.guest.balloon is not None:
            self.guest.balloon.config_interrupt()
        self._run_soon()

    async def _run_boot(self) -> None:
        quarter = self.guest.total_frames // 4
        try:
            await self._offload.run(self.guest.compile)
            if self._scenario is not None:
                await self._offload.run(warm_up)
            await self._offload.run(self.guest.use_memory, quarter, quarter)
        except OSError as error:
            self._service.log.critical("in-process guest does not boot: no memory for it", reason=error.strerror)
            return
        self.guest.load_driver(self._device)
        self._run_soon()
        self._service.log.info(
            "in-process guest booted",
            memory_bytes=self.guest.ram.size_bytes,
            touched_bytes=2 * quarter * FRAME_BYTES,
            workload=self._scenario.name if self._scenario is not None else None,
        )
        if self._scenario is not None:
            self.guest.mm.counts[ZoneCount.USED_WANTED] = 1
            self.machine.start(self._scenario)

    def _run_soon(self) -> None:
        """Let the guest's threads run, outside of whatever the device is doing."""
        if self._due is None and self._touching is None:
            self._due = self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._cancel_runs()
        wake_at_s = self.guest.kernel.run(self._loop.time(), _STEPS)
        used = self.guest.take_used()
        if used.size > _INLINE_FRAMES:
            self._touching = self._loop.create_task(self._touch(used), name=f"touch {self._service.settings.name}")
            return
        self.guest.touch(used)
        if wake_at_s is not None:
            self._timer = self._loop.call_at(wake_at_s, self._run)

    async def _touch(self, frames: Array) -> None:
        """Touch many frames, and let the guest go on."""
        try:
            await self._offload.run(self.guest.touch, frames)
        except OSError as error:
            self._service.log.critical("no memory for what an in-process guest uses", reason=error.strerror)
        self._touching = None
        if not self._stopped:
            self._run_soon()

    def _cancel_runs(self) -> None:
        for handle in (self._due, self._timer):
            if handle is not None:
                handle.cancel()
        self._due = self._timer = None


def _seed(name: str) -> int:
    """Of all chance in a guest: the same name, the same guest."""
    return zlib.crc32(name.encode())
