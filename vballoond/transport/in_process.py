"""A virtio device for a driver in this very process: what a real transport does, without descriptors between.

Rules of this file:

* The driver runs in the event loop, so nothing here calls it back at once: an interrupt asks for it to be run.
* A reset is complete when the status reads 0 (virtio 1.4 section 2.1.2): a pass over the queues that is under way ends
  first, so nothing of the device touches the rings afterwards.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Final, Protocol

from protocol.virtio import DeviceStatus

from ..balloon.device import DeviceState
from ..errors import GuestError
from ..memory.guest_memory import GuestMemory
from ..service.balloon_service import BalloonService
from ..service.queue import Start
from .features import offered_features
from .virtio_set_up import VirtioSetUp


class Interrupts(Protocol):
    """The driver's end: both return at once, and the driver looks when it next runs."""

    def queue_interrupt(self, index: int) -> None:
        """Buffers of a queue were used."""

    def config_interrupt(self) -> None:
        """The configuration space changed."""


class InProcessDevice(VirtioSetUp):
    """The device of one balloon, for a driver that implements :class:`Interrupts`.

    Args:
        service: The balloon.
        memory: The guest's memory; stays the caller's.
        interrupts: The driver's end.
    """

    def __init__(self, service: BalloonService, memory: GuestMemory, interrupts: Interrupts) -> None:
        super().__init__(offered_features(service.settings))
        self._service: Final = service
        self._interrupts: Final = interrupts
        self._resetting: asyncio.Task[None] | None = None
        service.connect(self)
        service.set_memory(memory)

    # What the driver calls, beside what VirtioSetUp has.

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space."""
        return self._service.read_config(offset, length)

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver writes there."""
        self._service.write_config(offset, data)

    def driver_ok(self) -> None:
        """Serve the queues; a set-up that cannot be breaks the balloon. Said again, it says nothing new."""
        try:
            queues = self._set_driver_ok(self._service.memory)
        except GuestError as error:
            self._service.break_off(f"set-up: {error}")
            return
        for index, queue in queues.items():
            notify = functools.partial(self._interrupts.queue_interrupt, index)
            self._service.start_queue(index, queue.role, queue.ring, notify, features=self._features, start=Start.FRESH)

    def kick(self, index: int) -> None:
        """The driver made buffers available. Before DRIVER_OK it is too early, and every queue is looked at then."""
        self._service.kick(index)

    def reset(self) -> None:
        """Begin a reset."""
        self._resetting = asyncio.get_running_loop().create_task(self._reset(), name="in-process reset")

    # What the balloon calls.

    def config_changed(self) -> None:
        """Tell the driver."""
        self._interrupts.config_interrupt()

    def broken(self) -> None:
        """Set NEEDS_RESET and say so (section 2.1.2)."""
        self._status |= DeviceStatus.NEEDS_RESET
        self._interrupts.config_interrupt()

    def keep(self, state: DeviceState, reclaimed_bytes: int) -> None:
        """The guest lives in this process, and ends with it."""

    # The edge.

    async def close(self, unmap: Callable[[], None]) -> None:
        """Serve no more, let go of the memory, and call ``unmap``."""
        async with self._service.lock:
            self._service.disconnect()
            unmap()

    async def _reset(self) -> None:
        async with self._service.lock:
            self._service.stop_all()
        self._forget_driver()
        self._interrupts.config_interrupt()
