"""The task that serves a balloon's queues: a turn for each that was kicked, for as long as any has something to do.

Rules of this file:

* One thing at a time for each balloon: a turn holds the lock, and so does every change of the queues and the memory. So
  no queue stops while a request of it is half done.
* A turn ends after :data:`TURN_CHAINS` buffers or :data:`TURN_S`, and then the event loop serves others.
* What goes wrong with a request ends neither the task nor the turn of another queue: it breaks this balloon.
"""

import asyncio
from typing import Final, Protocol

import structlog

from ..balloon.effects import Effect
from ..clock import Clock
from ..errors import GuestError
from ..histogram import Histogram
from ..virtqueue.chain import Chain
from .queue import RunningQueue

TURN_CHAINS: Final = 64
"""Buffers taken from one queue before others are served: of Linux's 256 frames each, 64 MiB."""

TURN_S: Final = 0.00025
"""A turn that took this long ends behind the buffer that it is at."""

_BOUNDS_S: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1)


class Served(Protocol):
    """The balloon whose queues are served."""

    def is_broken(self) -> bool:
        """Whether its queues are to be left alone."""

    def ask(self, queue: RunningQueue, chain: Chain) -> tuple[Effect, ...]:
        """Put a request to the device; raise a GuestError where the driver broke a rule."""

    async def perform(self, effect: Effect) -> None:
        """Do what the device wants done."""

    def break_off(self, reason: str) -> None:
        """Leave the queues alone until the driver sets them up again."""


class Serving:
    """The queues of one balloon that run, and the task that serves them.

    Args:
        served: The balloon.
        clock: The time.
        name: Its name, for the task and the log.
    """

    def __init__(self, served: Served, clock: Clock, name: str) -> None:
        self.lock: Final = asyncio.Lock()
        self.turns_s: Final = Histogram(_BOUNDS_S)
        """How long turns took, what was waited for included."""
        self.queues: Final[dict[int, RunningQueue]] = {}
        self._served: Final = served
        self._clock: Final = clock
        self._name: Final = name
        self._wake: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asking: Final[list[asyncio.Future[None]]] = []
        self._turn_began_at_s: float | None = None

    def turn_lasts_s(self) -> float:
        """For how long a turn has been under way; 0: none is."""
        return 0.0 if self._turn_began_at_s is None else self._clock.monotonic_s() - self._turn_began_at_s

    def start(self) -> None:
        """Begin to serve, in a task of the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._serve(), name=f"serve {self._name}")

    async def stop(self) -> None:
        """Serve no more. A turn that is under way is finished first."""
        if self._task is not None:
            async with self.lock:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            self._answer()

    def wake(self) -> None:
        """Look at the queues: one of them may have something to do."""
        self._wake.set()

    async def came_round(self) -> None:
        """Return once the task has looked at all queues again, or is stopped; never where it has failed or hangs."""
        if self._task is not None:
            asking = asyncio.get_running_loop().create_future()
            self._asking.append(asking)
            self._wake.set()
            await asking

    def _answer(self) -> None:
        for asking in self._asking:
            if not asking.done():
                asking.set_result(None)
        self._asking.clear()

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for index in [index for index, queue in self.queues.items() if queue.kicked]:
                async with self.lock:
                    again = await self._turn(index)
                if again:
                    self._wake.set()
                    await asyncio.sleep(0)
            self._answer()

    async def _turn(self, index: int) -> bool:
        """Serve a queue if it was kicked, up to the bound; say whether it needs another turn."""
        queue = self.queues.get(index)
        if queue is None or not queue.kicked or self._served.is_broken():
            return False
        try:
            queue.kicked = await self._take_buffers(queue)
        except GuestError as error:
            self._served.break_off(f"{queue.role.value}: {error}")
        except Exception:  # noqa: BLE001 (logged)
            structlog.get_logger().exception("request failed", balloon=self._name, queue=queue.role.value)
            self._served.break_off(f"{queue.role.value}: a defect of the daemon; its log has the details")
        return queue.kicked

    async def _take_buffers(self, queue: RunningQueue) -> bool:
        """Serve buffers; say whether there may be more."""
        began_at_s = self._turn_began_at_s = self._clock.monotonic_s()
        try:
            return await self._take_up_to(queue, began_at_s + TURN_S)
        finally:
            self._turn_began_at_s = None
            self.turns_s.observe(self._clock.monotonic_s() - began_at_s)

    async def _take_up_to(self, queue: RunningQueue, ends_at_s: float) -> bool:
        for _ in range(TURN_CHAINS):
            chain = queue.ring.pop()
            if chain is None:
                if not queue.ring.enable_kicks():
                    return False
                continue
            for effect in self._ask(queue, chain):
                await self._served.perform(effect)
            if self._clock.monotonic_s() >= ends_at_s:
                break
        return True

    def _ask(self, queue: RunningQueue, chain: Chain) -> tuple[Effect, ...]:
        try:
            return self._served.ask(queue, chain)
        except Exception:
            # The buffer is the ring's again, for whoever looks there next.
            queue.ring.unpop()
            raise
