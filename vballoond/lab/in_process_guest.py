"""A modelled guest behind a balloon of transport "in-process", run by the daemon's event loop."""

import asyncio
from typing import Final, Self

from guest_driver.guest import Guest
from guest_driver.kernel import Thread
from protocol.balloon.page_frames import FRAME_BYTES

from ..memory.guest_memory import GuestMemory
from ..memory.region import MappedRegion, RegionPlace
from ..offload import Offload
from ..service.balloon_service import BalloonService
from ..transport.in_process import InProcessDevice


class InProcessGuest:
    """A guest that boots, loads its balloon driver, and runs until it is stopped.

    It has touched half of its memory by then: a quarter stays in use, a quarter was freed again. So there is something
    that the host can get back, and something that it never gave.

    Args:
        service: The balloon that serves it.
        guest: The guest, from :meth:`make`.
        offload: Where its memory is touched.
    """

    @classmethod
    async def make(cls, service: BalloonService, offload: Offload) -> Self:
        """Make the guest that the balloon's settings ask for.

        Raises:
            OSError: The host has not got the memory.
        """
        settings = service.settings
        assert settings.memory is not None
        return cls(service, await offload.run(Guest, settings.memory, settings.name), offload)

    def __init__(self, service: BalloonService, guest: Guest, offload: Offload) -> None:
        self.guest: Final = guest
        self._service: Final = service
        self._offload: Final = offload
        self._loop: Final = asyncio.get_running_loop()
        self._due: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        place = RegionPlace(guest_address=0, size_bytes=self.guest.ram.size_bytes, user_address=0, file_offset=0)
        self._region: Final = MappedRegion(place, self.guest.ram.fd)
        self._device: Final = InProcessDevice(service, GuestMemory([self._region]), self)
        self._boot: asyncio.Task[None] | None = None

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
        if self._boot is not None:
            # Memory is touched in a thread, which cannot be cancelled and must not outlive the memory.
            await asyncio.gather(self._boot, return_exceptions=True)
        await self._device.close(self._region.close)
        for handle in (self._due, self._timer):
            if handle is not None:
                handle.cancel()
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
        quarter = self.guest.pages.total_frames // 4
        try:
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
        )

    def _run_soon(self) -> None:
        """Let the guest's threads run, outside of whatever the device is doing."""
        if self._due is None:
            self._due = self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wake_at_s = self.guest.kernel.run(self._loop.time())
        if wake_at_s is not None:
            self._timer = self._loop.call_at(wake_at_s, self._run)
