"""The service of one balloon: kicks and settings in, pages given back and buffers completed out.

Rules of this file:

* One thing at a time for each balloon: a pass over its queues, or a change of its queues and memory, holds the lock.
  Reading and setting the target does not need it: neither depends on a pass that is under way.
* A pass takes at most :data:`PASS_CHAINS` buffers, then the event loop serves others. Small holes are punched in the
  loop, larger ones outside of it; the buffer is completed after.
* A :class:`GuestError` breaks this balloon and no other: its queues are served no more until the driver sets them up
  again. The front-end stays connected and is answered.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Literal

import structlog

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..balloon.device import BalloonDevice
from ..balloon.effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from ..balloon.facts import (
    ConfigWritten,
    Fact,
    MemoryKnown,
    QueueStarted,
    QueueStopped,
    Request,
    StatisticsDue,
    TargetSet,
)
from ..balloon.inflate import MAX_REQUEST_BYTES
from ..clock import Clock
from ..config.models import BalloonSettings
from ..errors import GuestError
from ..memory.frames import FrameRange
from ..memory.guest_memory import GuestMemory
from ..offload import Offload
from ..virtqueue.split import SplitRing
from .link import Link, NoLink
from .queue import RunningQueue
from .resizing import Resizing

PASS_CHAINS: Final = 64
"""Buffers taken from one queue before the event loop serves others: of Linux's 256 frames each, 64 MiB."""

# A punch of this size takes a fraction of a millisecond; handing it to a thread would cost more than it frees.
_INLINE_FRAMES: Final = 512
_INLINE_RANGES: Final = 64

Observer = Callable[[Fact], None]
StateName = Literal["waiting", "running", "paused", "broken"]


class BalloonService:
    """Serves one balloon over whatever transport it has.

    Args:
        settings: Its configuration.
        clock: The time.
        offload: Where long calls run.
        observer: Sees every fact that reaches the device, for tests and traces.
    """

    def __init__(
        self, settings: BalloonSettings, clock: Clock, offload: Offload, observer: Observer | None = None
    ) -> None:
        self.settings: Final = settings
        self.lock: Final = asyncio.Lock()
        self.memory = GuestMemory()
        self.device: Final = BalloonDevice()
        self.resizing: Final = Resizing(clock)
        self.reclaimed_bytes = 0
        self.broken_reason: str | None = None
        self.connected = False
        self.started = False
        self.negotiated_features = 0
        self.statistics_interval_s = settings.stats_interval_s
        self.log: Final = structlog.get_logger().bind(balloon=settings.name)
        self._clock: Final = clock
        self._offload: Final = offload
        self._observer: Final = observer
        self._link: Link = NoLink()
        self._queues: Final[dict[int, RunningQueue]] = {}
        self._wake: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.release_problem: str | None = None
        """Why memory could not be given back, the last time that it could not."""

    # The transport's side: all but config access under ``lock``.

    def connect(self, link: Link) -> None:
        """A front-end is there; its queues do not run yet."""
        self.connected = True
        self.started = False
        self._link = link

    def disconnect(self) -> None:
        """The front-end has gone: nothing is held, the target stays for the next one. Memory stays the caller's."""
        self.stop_all()
        self.set_memory(GuestMemory())
        self._link = NoLink()
        self.connected = self.started = False
        self.broken_reason = None
        self.release_problem = None
        self.negotiated_features = 0

    def set_memory(self, memory: GuestMemory) -> None:
        """Use ``memory`` from now on. No queue may run: its views are of the old one. The caller closes that."""
        assert not self._queues
        self.memory = memory
        self._feed(MemoryKnown(memory.frame_space))
        limit_frames = self.limit_bytes() // FRAME_BYTES
        if memory.regions and self.target_frames > limit_frames:
            self.log.warning("target clamped", target_frames=self.target_frames, limit_frames=limit_frames)
            self.set_target(limit_frames)
        self._observe_resize()

    def start_queue(
        self,
        index: int,
        role: QueueRole,
        ring: SplitRing,
        notify: Callable[[], None],
        *,
        features: int,
        fresh: bool,
        renewed: bool,
    ) -> None:
        """Serve a queue from now on.

        Args:
            index: Its number, by which it is kicked and stopped.
            role: What it is for.
            ring: Its ring, which is closed when it stops.
            notify: Tells the driver of completed buffers; must not wait or raise.
            features: What the driver acknowledged.
            fresh: Whether it was set up to start from position 0.
            renewed: Whether the driver set it up anew, which mends a broken balloon.
        """
        if renewed:
            self.broken_reason = None
        self.started = True
        self.negotiated_features = features
        self._queues[index] = RunningQueue(role, ring, notify)
        self._feed(QueueStarted(role, features, fresh))
        self.log.debug("queue started", queue=role.value, index=index, fresh=fresh)
        if role is QueueRole.STATS:
            self._arm_statistics()
        self._wake.set()

    def stop_queue(self, index: int) -> int:
        """Serve a queue no more; return the ring position from which it can go on."""
        queue = self._queues.pop(index)
        if queue.role is QueueRole.STATS and self.device.state.held_statistics_head is not None:
            queue.ring.unpop()
        self._feed(QueueStopped(queue.role))
        position = queue.ring.next_avail
        queue.ring.close()
        self.log.debug("queue stopped", queue=queue.role.value, index=index, position=position)
        return position

    def stop_all(self) -> None:
        """Serve no queue any more."""
        for index in list(self._queues):
            self.stop_queue(index)

    def kick(self, index: int) -> None:
        """The driver made buffers available. Spurious kicks are harmless."""
        queue = self._queues.get(index)
        if queue is not None:
            queue.kicked = True
            self._wake.set()

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space; zeros beyond its end."""
        return self.device.read_config(offset, length)

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver wrote; only its own fields count."""
        self._feed(ConfigWritten(offset, data))
        self._observe_resize()

    # The operator's side.

    @property
    def target_frames(self) -> int:
        """What the operator wants the balloon to hold."""
        return self.device.state.config.num_pages

    @property
    def actual_frames(self) -> int:
        """What the driver says that the balloon holds."""
        return self.device.state.config.actual

    def limit_bytes(self) -> int:
        """The largest target there may be now: the memory, the configured memory while unknown, ``max`` at most."""
        known = self.memory.size_bytes or self.settings.memory or _UNKNOWN_MEMORY_BYTES
        return min(known, known if self.settings.max is None else self.settings.max)

    def set_target(self, frames: int) -> int:
        """Begin a resize; return its number. A driver that is not there yet finds the target when it comes."""
        for effect in self._feed(TargetSet(frames)):
            assert isinstance(effect, ConfigChanged)
            self._link.config_changed()
        number = self.resizing.begin(frames, self.actual_frames)
        self._observe_resize()
        return number

    def set_statistics_interval(self, interval_s: float) -> None:
        """Ask for statistics every ``interval_s`` seconds from now on; 0 asks no more."""
        self.statistics_interval_s = interval_s
        self._arm_statistics()

    @property
    def state_name(self) -> StateName:
        """Whether there is a driver, and how it does."""
        if self.broken_reason is not None:
            return "broken"
        if self.device.state.running:
            return "running"
        return "paused" if self.started else "waiting"

    # Serving.

    def start(self) -> None:
        """Begin to serve, in a task of the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._serve(), name=f"serve {self.settings.name}")

    async def stop(self) -> None:
        """Serve no more. What is under way is finished first."""
        async with self.lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._task is not None:
                self._task.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            async with self.lock:
                more = await self._pass()
            if more:
                self._wake.set()
                await asyncio.sleep(0)

    async def _pass(self) -> bool:
        """Serve every queue that was kicked, up to the bound; say whether any has more."""
        more = False
        for queue in list(self._queues.values()):
            if not queue.kicked or self.broken_reason is not None:
                continue
            try:
                queue.kicked = await self._serve_queue(queue)
            except GuestError as error:
                self._break(queue, error)
            more = more or queue.kicked
        return more

    async def _serve_queue(self, queue: RunningQueue) -> bool:
        for _ in range(PASS_CHAINS):
            chain = queue.ring.pop()
            if chain is None:
                if not queue.ring.enable_kicks():
                    return False
                continue
            data = chain.read(self.memory, MAX_REQUEST_BYTES)
            request = Request(queue.role, chain.head, data, self._clock.now())
            await self._perform(self._feed(request))
        return True

    async def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case ReleaseFrames(ranges):
                    await self._release(ranges)
                case CompleteRequest(role, head):
                    self._complete(role, head)
                case ConfigChanged():
                    self._link.config_changed()

    async def _release(self, ranges: tuple[FrameRange, ...]) -> None:
        if not self.settings.discard:
            return
        small = len(ranges) <= _INLINE_RANGES and sum(part.count for part in ranges) <= _INLINE_FRAMES
        released = self.memory.release(ranges) if small else await self._offload.run(self.memory.release, ranges)
        self.reclaimed_bytes += released.freed_bytes
        if released.error is None:
            return
        self.device.counters.release_errors += 1
        if self.release_problem is None:
            self.log.error("memory cannot be given back", reason=str(released.error))
        self.release_problem = str(released.error)

    def _complete(self, role: QueueRole, head: int) -> None:
        for queue in self._queues.values():
            if queue.role is role:
                queue.complete(head)
        self._observe_resize()

    def _feed(self, fact: Fact) -> tuple[Effect, ...]:
        if self._observer is not None:
            self._observer(fact)
        return self.device.handle(fact)

    def _break(self, queue: RunningQueue, error: GuestError) -> None:
        self.broken_reason = f"{queue.role.value}: {error}"
        self.device.counters.guest_errors += 1
        self.log.warning("balloon broken by its driver", reason=self.broken_reason)
        self._link.broken()

    def _arm_statistics(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.statistics_interval_s:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.statistics_interval_s, self._statistics_due)

    def _statistics_due(self) -> None:
        self._arm_statistics()
        if self.broken_reason is None:
            for effect in self._feed(StatisticsDue()):
                assert isinstance(effect, CompleteRequest)
                self._complete(effect.role, effect.head)

    def _observe_resize(self) -> None:
        finished = self.resizing.observe(self.actual_frames, self.device.frame_map.held_frames)
        if finished is not None:
            self.log.info(
                "resize done",
                resize=finished.id,
                target_bytes=finished.target_frames * FRAME_BYTES,
                rate_bytes_per_s=finished.rate_bytes_per_s(),
                reclaimed_bytes=self.reclaimed_bytes,
            )


# num_pages counts frames in 32 bits: what a target can be while nothing is known of the memory.
_UNKNOWN_MEMORY_BYTES: Final = ((1 << 32) - 1) * FRAME_BYTES
