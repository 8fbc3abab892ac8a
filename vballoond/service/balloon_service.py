"""The service of one balloon: kicks and settings in, pages given back and buffers completed out.

Rules of this file:

* What changes queues or memory is called with :attr:`BalloonService.lock` held; ``serving`` holds it for each turn. The
  target and the configuration space need no lock: neither depends on a request that is under way.
* A :class:`GuestError` breaks this balloon and no other: its queues are served no more until the driver sets them up
  again. The front-end stays connected and is answered.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

import structlog

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..balloon.device import MAX_NUM_PAGES, BalloonDevice, DeviceState
from ..balloon.effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from ..balloon.facts import (
    ConfigWritten,
    Fact,
    HintingStarted,
    HintingStopped,
    MemoryKnown,
    Negotiated,
    QueueStarted,
    QueueStopped,
    Request,
    StatisticsDue,
    TargetSet,
)
from ..balloon.frame_map import FrameBytes, FrameMap
from ..balloon.frame_pictures import GuestView
from ..balloon.inflate import MAX_REQUEST_BYTES
from ..balloon.resize import Terms
from ..balloon.statistics import Statistics
from ..clock import Clock
from ..config.feature_names import feature_names
from ..config.models import BalloonSettings
from ..events.log import EventLog
from ..histogram import Histogram
from ..memory.guest_memory import GuestMemory
from ..offload import Offload
from ..virtqueue.chain import Chain
from ..virtqueue.ring import Ring
from ..virtqueue.state import RingState
from .heard import Heard
from .hinting_log import ended_round
from .link import Link, NoLink
from .queue import RunningQueue, Start
from .releasing import Releasing
from .resizing import Resizing
from .serving import Serving
from .target import Target
from .telling import Telling
from .timer import Timer

Observer = Callable[[Fact], None]
StateName = Literal["waiting", "running", "paused", "broken"]
FreeBlocks = Callable[[], tuple[int, int]]
"""Returns the guest's free frames, and how many of them lie in free blocks of huge-page size."""


class BalloonService:
    """Serves one balloon over whatever transport it has.

    Args:
        settings: Its configuration.
        clock: The time.
        offload: Where long calls run.
        observer: Sees every fact that reaches the device, for tests and traces.
        events: Is told what happens.
        moved: Called where the daemon has moved the target by itself.
    """

    def __init__(
        self,
        settings: BalloonSettings,
        clock: Clock,
        offload: Offload,
        observer: Observer | None = None,
        events: EventLog | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.memory = GuestMemory()
        self.device: Final = BalloonDevice()
        self.telling: Final = Telling(events or EventLog("", clock.now), settings.name, clock, self)
        self.target: Final = Target(self, clock, self.telling, moved)
        self.releasing: Final = Releasing(settings, offload, self.device.counters)
        self.broken_reason: str | None = None
        self.started = False
        self.retired = False
        self.statistics_interval_s = settings.stats_interval_s
        self.log: Final = structlog.get_logger().bind(balloon=settings.name)
        self.clock: Final = clock
        self.free_blocks: FreeBlocks | None = None
        """Tells how the guest's free memory lies; None where it cannot say, as a virtual machine."""
        self._guest_view: GuestView | None = None
        self._observer: Final = observer
        self._link: Link = NoLink()
        self._serving: Final = Serving(self, clock, settings.name)
        self._queues: Final = self._serving.queues
        self._statistics_timer: Final = Timer(self._statistics_due)
        self._heard: Final = Heard(clock, self.device.counters)

    # The transport's side: all but config access under ``lock``.

    @property
    def lock(self) -> asyncio.Lock:
        """Held for each turn on a queue, and for each change of queues and memory."""
        return self._serving.lock

    @property
    def connected(self) -> bool:
        """Whether there is a front-end."""
        return not isinstance(self._link, NoLink)

    @property
    def negotiated_features(self) -> int:
        """What the driver acknowledged; 0 before it has."""
        return self.device.state.features

    @property
    def turns_s(self) -> Histogram:
        """How long turns on its queues took."""
        return self._serving.turns_s

    @property
    def running_queues(self) -> tuple[int, ...]:
        """The numbers of the queues that run."""
        return tuple(self._queues)

    def connect(self, link: Link) -> None:
        """A front-end is there; its queues do not run yet."""
        self.started = False
        self._link = link
        self.telling.brought_about("connected")

    def disconnect(self) -> None:
        """The front-end has gone: nothing is held, the target stays for the next one. Memory stays the caller's."""
        self.stop_all()
        self.set_memory(GuestMemory())
        self.releasing.problem = None
        self._link = NoLink()
        self.started = False
        self.broken_reason = None
        self._feed(Negotiated(0))
        self.telling.brought_about("disconnected")
        self.telling.state_may_differ()

    def set_memory(self, memory: GuestMemory, held: FrameBytes | None = None) -> None:
        """Use ``memory`` from now on. No queue may run: its views are of the old one. The caller closes that.

        Args:
            memory: The memory.
            held: Where it is to be noted which of its frames are held, all 0 so far, for whoever keeps that.
        """
        assert not self._queues
        self.memory = memory
        self._feed(MemoryKnown(memory.frame_space))
        if held is not None:
            self.device.note_held_in(held)
        self.target.observe()

    def restore(
        self, memory: GuestMemory, frame_map: FrameMap, state: DeviceState, reclaimed_bytes: int, *, started: bool
    ) -> None:
        """Go on as an earlier process left things; the queues that ran start then.

        Raises:
            StateError: The state says what no device does; nothing has changed.
        """
        assert not self._queues
        self.device.restore(state, frame_map)
        self.memory = memory
        self.releasing.reclaimed_bytes = reclaimed_bytes
        self.started = started
        if self.target_frames != self.actual_frames:
            self.target.begin()

    def start_queue(
        self,
        index: int,
        role: QueueRole,
        ring: Ring,
        notify: Callable[[], None],
        *,
        features: int,
        start: Start,
    ) -> None:
        """Serve a queue from now on.

        Args:
            index: Its number, by which it is kicked and stopped.
            role: What it is for.
            ring: Its ring, which is closed when it stops.
            notify: Tells the driver of completed buffers; must not wait or raise.
            features: What the driver acknowledged.
            start: How it comes to run; setting it up anew mends a broken balloon.
        """
        if start is not Start.AGAIN:
            self.broken_reason = None
        self.started = True
        if features != self.negotiated_features:
            self._feed(Negotiated(features))
            self.telling.brought_about("negotiated", features=feature_names(features))
        self._queues[index] = RunningQueue(role, ring, notify)
        self._feed(QueueStarted(role, fresh=start is Start.FRESH))
        self.log.debug("queue started", queue=role.value, index=index, start=start.value)
        if role is QueueRole.STATS:
            self._statistics_timer.set(self.statistics_interval_s)
        if role is QueueRole.INFLATE:
            self._clamp_target()
        self.target.observe()
        self.telling.state_may_differ()
        self._serving.wake()

    def stop_queue(self, index: int) -> RingState:
        """Serve a queue no more; return the state from which it can go on."""
        queue = self._queues.pop(index)
        self._feed(QueueStopped(queue.role))
        state = queue.ring.state
        queue.ring.close()
        self.log.debug("queue stopped", queue=queue.role.value, index=index, position=state.base)
        self.telling.state_may_differ()
        return state

    def stop_all(self) -> None:
        """Serve no queue any more."""
        for index in list(self._queues):
            self.stop_queue(index)

    def kick(self, index: int) -> None:
        """The driver made buffers available. Spurious kicks are harmless."""
        queue = self._queues.get(index)
        if queue is not None:
            queue.kicked = True
            self._serving.wake()

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space; zeros beyond its end."""
        return self.device.read_config(offset, length)

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver wrote; only its own fields count."""
        self._feed(ConfigWritten(offset, data))
        self.target.observe()

    # The operator's side.

    @property
    def guest_view(self) -> GuestView | None:
        """How the guest itself sees its frames; None where it cannot say, as a virtual machine."""
        return self._guest_view

    @guest_view.setter
    def guest_view(self, guest_view: GuestView) -> None:
        self._guest_view = guest_view

    @property
    def target_frames(self) -> int:
        """What the operator wants the balloon to hold."""
        return self.device.state.config.num_pages

    @property
    def actual_frames(self) -> int:
        """What the driver says that the balloon holds."""
        return self.device.state.config.actual

    @property
    def held_frames(self) -> int:
        """What was inflated and not deflated since."""
        return self.device.frame_map.held_frames

    @property
    def reclaimed_bytes(self) -> int:
        """What giving frames back has freed."""
        return self.releasing.reclaimed_bytes

    @property
    def statistics(self) -> Statistics | None:
        """What the guest last said of its memory."""
        return self.device.state.statistics

    def turn_lasts_s(self) -> float:
        """For how long a request has been under way; 0: none is."""
        return self._serving.turn_lasts_s()

    def silent_s(self) -> float:
        """For how long nothing was heard of the driver."""
        return self._heard.silent_s()

    def limit_bytes(self) -> int:
        """The largest target there may be now: the memory, the configured memory while unknown, ``max`` at most."""
        known = self.memory.size_bytes or self.settings.memory or _MAX_TARGET_BYTES
        return min(known, _MAX_TARGET_BYTES if self.settings.max is None else self.settings.max, _MAX_TARGET_BYTES)

    def set_target(self, frames: int, terms: Terms = Terms()) -> int:  # noqa: B008 (frozen)
        """Begin a resize; return its number. A driver that is not there yet finds the target when it comes."""
        return self.target.set(frames, terms)

    def change_target(self, frames: int) -> None:
        """Tell the driver what the balloon is to hold; :meth:`set_target` begins a resize with it."""
        self._feed_and_carry_out(TargetSet(frames))

    @property
    def resizing(self) -> Resizing:
        """The resizes, the newest and those before."""
        return self.target.resizing

    def retire(self) -> None:
        """Have the guest take back everything, for good: the balloon is to go when its front-end does."""
        self.retired = True
        if self.target_frames:
            self.set_target(0)

    def change_settings(self, settings: BalloonSettings) -> None:
        """Take other settings of the same balloon: what is offered counts from the next connection on."""
        if settings.stats_interval_s != self.settings.stats_interval_s:
            self.set_statistics_interval(settings.stats_interval_s)
        self.settings = settings
        self.releasing.discard = settings.discard
        self._clamp_target()

    def set_statistics_interval(self, interval_s: float) -> None:
        """Ask for statistics every ``interval_s`` seconds from now on; 0 asks no more."""
        self.statistics_interval_s = interval_s
        self._statistics_timer.set(interval_s)

    def ask_for_statistics(self) -> None:
        """Ask for statistics now, besides every so often; where nobody has any to give, nothing happens."""
        self._statistics_due()

    @property
    def can_hint(self) -> bool:
        """Whether there is a driver that can be asked for hints."""
        return QueueRole.FREE_PAGE in self.device.state.running and not self.is_broken()

    def start_hinting(self, *, acknowledge_on_stop: bool) -> None:
        """Have the driver list its free memory; a round that is under way is over with it."""
        self._feed_and_carry_out(HintingStarted(self.clock.now(), acknowledge_on_stop))

    def stop_hinting(self) -> None:
        """Let the driver have again what it listed."""
        self._feed_and_carry_out(HintingStopped())

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
        self._serving.start()

    async def stop(self) -> None:
        """Serve no more. What is under way is finished first."""
        self._statistics_timer.stop()
        self.target.stop()
        await self._serving.stop()
        self.telling.stop()

    async def came_round(self) -> None:
        """Return once the serving task has had its turn, so that it is known not to hang; at once where it is over."""
        await self._serving.came_round()

    def is_broken(self) -> bool:
        """Whether the driver broke the balloon and has not set it up again."""
        return self.broken_reason is not None

    def ask(self, queue: RunningQueue, chain: Chain) -> tuple[Effect, ...]:
        """Put a request to the device.

        Raises:
            GuestError: The driver broke a rule.
        """
        data = chain.read(self.memory, MAX_REQUEST_BYTES)
        effects = self._feed(Request(queue.role, chain.head, data, self.clock.now(), chain.writable))
        if queue.role is QueueRole.STATS:
            self.telling.statistics.changed()
        return effects

    async def perform(self, effect: Effect) -> None:
        """Do what the device wants done."""
        if isinstance(effect, ReleaseFrames):
            await self.releasing.release(self.memory, effect.ranges)
            self._keep()
        else:
            self._carry_out(effect)

    def break_off(self, reason: str) -> None:
        """Serve no queue until the driver sets them up again, and say why."""
        self.broken_reason = reason
        self.device.counters.guest_errors += 1
        self.log.warning("balloon broken", reason=reason)
        self.telling.state_may_differ()
        self._link.broken()

    def _feed_and_carry_out(self, fact: Fact) -> None:
        """Tell the device of what asks for nothing that takes waiting."""
        for effect in self._feed(fact):
            self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        """Do at once what needs no waiting."""
        match effect:
            case CompleteRequest(role, head):
                self._complete(role, head)
            case ConfigChanged():
                self._link.config_changed()

    def _complete(self, role: QueueRole, head: int) -> None:
        for queue in self._queues.values():
            if queue.role is role:
                queue.complete(head)
        self.target.observe()

    def _feed(self, fact: Fact) -> tuple[Effect, ...]:
        if self._observer is not None:
            self._observer(fact)
        before = self.device.state
        effects = self.device.handle(fact)
        if self.device.state is not before:
            self._keep()
        if self.device.state.hinting is not before.hinting:
            ended = ended_round(before.hinting, self.device.state.hinting, fact, self.clock.now())
            if ended is not None:
                self.log.info("hinting done", **ended)
        return effects

    def _keep(self) -> None:
        self._link.keep(self.device.state, self.releasing.reclaimed_bytes)

    def _statistics_due(self) -> None:
        if self.broken_reason is None:
            self._feed_and_carry_out(StatisticsDue())

    def _clamp_target(self) -> None:
        self.target.clamp(self.limit_bytes() // FRAME_BYTES)


_MAX_TARGET_BYTES: Final = MAX_NUM_PAGES * FRAME_BYTES
