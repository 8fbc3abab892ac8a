"""The service of one balloon: what its transport and its operator change.

What others read of it is in ``known_balloon``, what its driver's requests come to in ``served_balloon``.

Rules of this file:

* What changes queues or memory is called with :attr:`BalloonService.lock` held; ``serving`` holds it for each turn. The
  target and the configuration space need no lock: neither depends on a request that is under way.
"""

from collections.abc import Callable

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..balloon.device import DeviceState
from ..balloon.facts import (
    ConfigWritten,
    HintingStarted,
    HintingStopped,
    MemoryKnown,
    Negotiated,
    QueueStarted,
    QueueStopped,
)
from ..balloon.frame_map import FrameBytes, FrameMap
from ..balloon.resize import Author, Terms
from ..config.feature_names import feature_names
from ..config.models import BalloonSettings
from ..memory.guest_memory import GuestMemory
from ..virtqueue.ring import Ring
from ..virtqueue.state import RingState
from .link import Link, NoLink
from .queue import RunningQueue, Start
from .served_balloon import ServedBalloon


class BalloonService(ServedBalloon):
    """Serves one balloon over whatever transport it has."""

    # The transport's side: all but config access under ``lock``.

    def connect(self, link: Link) -> None:
        """A front-end is there; its queues do not run yet."""
        self.driven_since_s = None
        self._link = link
        self.telling.brought_about("connected")

    def disconnect(self) -> None:
        """The front-end has gone: nothing is held, the target stays for the next one. Memory stays the caller's."""
        self.stop_all()
        self.set_memory(GuestMemory())
        self.releasing.problem = None
        self._link = NoLink()
        self.driven_since_s = None
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
        self.driven_since_s = float("-inf") if started else None  # for long: it is not the driver that has begun
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
        if self.driven_since_s is None:
            self.driven_since_s = self.clock.monotonic_s()
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

    def write_config(self, offset: int, data: bytes) -> None:
        """Take what the driver wrote; only its own fields count."""
        self._feed(ConfigWritten(offset, data))
        self.target.observe()

    # The operator's side.

    def set_target(
        self,
        frames: int,
        terms: Terms = Terms(),  # noqa: B008 (frozen)
        by: Author = Author.OPERATOR,
    ) -> int:
        """Begin a resize; return its number. A driver that is not there yet finds the target when it comes."""
        return self.target.set(frames, terms, by)

    def retire(self) -> None:
        """Have the guest take back everything, for good: the balloon is to go when its front-end does."""
        self.retired = True
        if self.target_frames:
            self.set_target(0, by=Author.DAEMON)

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

    def start_hinting(self, *, acknowledge_on_stop: bool) -> None:
        """Have the driver list its free memory; a round that is under way is over with it."""
        self._feed_and_carry_out(HintingStarted(self.clock.now(), acknowledge_on_stop))

    def stop_hinting(self) -> None:
        """Let the driver have again what it listed."""
        self._feed_and_carry_out(HintingStopped())

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

    def _clamp_target(self) -> None:
        self.target.clamp(self.limit_bytes() // FRAME_BYTES)
