"""What requests and other facts come to: they are put to the device, and its effects are carried out.

Rules of this file:

* What the device knows now is kept before anything follows of it that a driver can see.
* Only giving frames back is waited for. All other effects are carried out at once, so that what is no request needs no
  lock.
* A :class:`GuestError` breaks this balloon and no other: its queues are served no more until the driver sets them up
  again. The front-end stays connected and is answered.
"""

from collections.abc import Callable
from typing import Final

import structlog

from protocol.balloon.queues import QueueRole

from ..balloon.effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from ..balloon.facts import Fact, Request, StatisticsDue, TargetSet
from ..balloon.inflate import MAX_REQUEST_BYTES
from ..clock import Clock
from ..config.models import BalloonSettings
from ..events.log import EventLog
from ..offload import Offload
from ..virtqueue.chain import Chain
from .hinting_log import ended_round
from .known_balloon import KnownBalloon
from .queue import RunningQueue
from .serving import Serving
from .target import Target
from .timer import Timer

Observer = Callable[[Fact], None]


class ServedBalloon(KnownBalloon):
    """A balloon whose queues are served, as ``serving`` wants it.

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
        super().__init__(settings, clock, offload, events)
        self.target = Target(self, clock, self.telling, moved)
        self.log: Final = structlog.get_logger().bind(balloon=settings.name)
        self._observer: Final = observer
        self._statistics_timer: Final = Timer(self._statistics_due)
        self._serving = Serving(self, clock, settings.name)
        self._queues: Final = self._serving.queues

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

    def change_target(self, frames: int) -> None:
        """Tell the driver what the balloon is to hold; :class:`Target` begins a resize with it."""
        self._feed_and_carry_out(TargetSet(frames))

    def break_off(self, reason: str) -> None:
        """Serve no queue until the driver sets them up again, and say why."""
        self.broken_reason = reason
        self.device.counters.guest_errors += 1
        self.log.warning("balloon broken", reason=reason)
        self.telling.state_may_differ()
        self._link.broken()

    def _statistics_due(self) -> None:
        if self.broken_reason is None:
            self._feed_and_carry_out(StatisticsDue())

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
