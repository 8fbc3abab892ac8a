"""The balloon device: what it makes of each fact, as effects.

Rules of this file:

* It does nothing itself: no I/O, no clock, no logger, no view of guest memory. Whoever feeds it facts carries out the
  effects that come back, in order. What a queue asks waits until the effects of its last request are done; targets,
  configuration writes and the statistics clock may come in between.
* All that it knows is :class:`DeviceState`, which is frozen and replaced, and the frame map.
* Who watches the map is called once when it has changed or is another one, from within the call that did it.
* :meth:`BalloonDevice.handle` raises :class:`GuestError` when the driver broke a rule that leaves no way on. The state
  is then as before the fact.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.balloon.config_space import BALLOON_CONFIG, DRIVER_WRITES, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole

from ..errors import StateError
from ..memory.frames import FrameRange
from .counters import Counters
from .effects import CompleteRequest, ConfigChanged, Effect, ReleaseFrames
from .facts import (
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
from .frame_map import FrameBytes, FrameMap
from .hinting import Hinting
from .inflate import deflate, inflate
from .migrations import Migrations
from .reporting import reported_ranges
from .statistics import Statistics, parse_statistics

_MAX_WORD: Final = (1 << 32) - 1
MAX_NUM_PAGES: Final = _MAX_WORD
"""What ``num_pages`` can say: a frame short of 16 TiB."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device knows besides the frames that it holds."""

    config: BalloonConfig = field(default_factory=BalloonConfig)
    features: int = 0
    running: frozenset[QueueRole] = frozenset()
    held_statistics_head: int | None = None
    recalled_statistics_head: int | None = None
    """A held buffer that went back to the ring when its queue stopped: it will come again as it is, no newer."""
    statistics: Statistics | None = None
    hinting: Hinting = field(default_factory=Hinting)


class BalloonDevice:
    """One traditional memory balloon (virtio 1.4 section 5.5)."""

    def __init__(self) -> None:
        self.state = DeviceState()
        self.frame_map = FrameMap()
        self.counters: Final = Counters()
        self.migrations: Final = Migrations()
        self._watchers: Final[set[Callable[[], None]]] = set()

    def watch_map(self, changed: Callable[[], None]) -> None:
        """Call ``changed`` once, at the next change of the frame map; it must not wait or raise."""
        self._watchers.add(changed)

    def unwatch_map(self, changed: Callable[[], None]) -> None:
        """Do not call ``changed`` any more, if it still was to be called."""
        self._watchers.discard(changed)

    def _map_changed(self) -> None:
        watchers = list(self._watchers)
        self._watchers.clear()
        for changed in watchers:
            changed()

    def note_held_in(self, held: FrameBytes) -> None:
        """Note which frames are held in ``held`` from now on, all 0 so far, for whoever keeps that."""
        self.frame_map = self.frame_map.in_space(self.frame_map.space, held)
        self._map_changed()

    def restore(self, state: DeviceState, frame_map: FrameMap) -> None:
        """Go on from the state of a device that has ended, as its queues start again.

        Of ``state`` what its driver and operator wrote and the round of hinting count; the rest comes with the queues.

        Raises:
            StateError: It says what no device does; nothing has changed.
        """
        state.hinting.check(frame_map.space)
        config = state.config._replace(free_page_hint_cmd_id=state.hinting.config_value)
        for name, value in config._asdict().items():
            if not 0 <= value <= _MAX_WORD:
                raise StateError(f"{name} of {value} in a configuration space of 32-bit fields")
        self.state = DeviceState(config, hinting=state.hinting)
        self.frame_map = frame_map
        self.migrations.clear()
        self._map_changed()

    def handle(self, fact: Fact) -> tuple[Effect, ...]:
        """Take in ``fact`` and return what is to be done about it, in order.

        Raises:
            GuestError: The driver broke the specification beyond what can be completed.
        """
        before = self.frame_map.version
        effects = self._take_in(fact)
        if self._watchers and self.frame_map.version != before:
            self._map_changed()
        return effects

    def _take_in(self, fact: Fact) -> tuple[Effect, ...]:
        match fact:
            case Request():
                return self._request(fact)
            case ConfigWritten():
                return self._config_written(fact)
            case TargetSet(num_pages):
                return self._target_set(num_pages)
            case StatisticsDue():
                return self._statistics_due()
            case HintingStarted() | HintingStopped():
                return self._hinting_wanted(fact)
            case MemoryKnown() | Negotiated() | QueueStarted() | QueueStopped():
                return self._set_up(fact)

    def _set_up(self, fact: MemoryKnown | Negotiated | QueueStarted | QueueStopped) -> tuple[Effect, ...]:
        """Take in what changes when a driver or its memory comes and goes; nothing is to be done about it."""
        match fact:
            case MemoryKnown(space):
                self.frame_map = self.frame_map.in_space(space)
                self.migrations.clear()
            case Negotiated(features):
                self.state = replace(self.state, features=features)
            case QueueStarted():
                self._queue_started(fact)
            case QueueStopped(role):
                self._queue_stopped(role)
        return ()

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space; beyond its end there are zeros."""
        return BALLOON_CONFIG.pack(self.state.config)[offset : offset + length].ljust(length, b"\0")

    def _request(self, request: Request) -> tuple[Effect, ...]:
        completed = CompleteRequest(request.role, request.head)
        match request.role:
            case QueueRole.INFLATE:
                ranges = self._inflate(request.data)
                return (ReleaseFrames(ranges), completed) if ranges else (completed,)
            case QueueRole.DEFLATE:
                self._deflate(request.data)
                return (completed,)
            case QueueRole.STATS:
                return self._statistics_arrived(request)
            case QueueRole.REPORTING:
                return self._reported(request)
            case QueueRole.FREE_PAGE:
                return (*self._hinted(request), completed)

    def _inflate(self, data: bytes) -> tuple[FrameRange, ...]:
        before = self.counters.inflated_frames
        ranges = inflate(self.frame_map, data, self.counters)
        self.migrations.inflated(data, self.counters.inflated_frames - before)
        return ranges

    def _deflate(self, data: bytes) -> None:
        before = self.counters.deflated_frames
        deflate(self.frame_map, data, self.counters)
        gone = self.counters.deflated_frames - before
        self.counters.migrated_frames += self.migrations.deflated(data, gone, self.frame_map.version)

    def _statistics_arrived(self, request: Request) -> tuple[Effect, ...]:
        earlier, known = self.state.held_statistics_head, self.state.statistics
        before = {} if known is None else known.values
        statistics = Statistics(parse_statistics(request.data), request.arrived_at, before)
        recalled = self.state.recalled_statistics_head == request.head
        if recalled and known is not None and known.values == statistics.values:
            statistics = known
        else:
            self.counters.statistics_updates += 1
        self.state = replace(
            self.state, held_statistics_head=request.head, recalled_statistics_head=None, statistics=statistics
        )
        # 5.5.6.3.1 allows one buffer at a time. A driver that offers another gets the first one back.
        return () if earlier is None else (CompleteRequest(QueueRole.STATS, earlier),)

    def _reported(self, request: Request) -> tuple[Effect, ...]:
        completed = CompleteRequest(request.role, request.head)
        ranges = reported_ranges(self.frame_map.space, request.writable, self.counters)
        poisoned = self.state.features & BalloonFeature.PAGE_POISON and self.state.config.poison_val
        return (completed,) if poisoned or not ranges else (ReleaseFrames(ranges), completed)

    def _hinted(self, request: Request) -> tuple[Effect, ...]:
        hinting = self.state.hinting
        if request.data or not request.writable:
            hinting = hinting.command(request.data, self.counters)
        if request.writable:
            hinting = hinting.hinted(request.writable, self.frame_map.space, self.counters)
        return self._hinting_is(hinting)

    def _hinting_wanted(self, wanted: HintingStarted | HintingStopped) -> tuple[Effect, ...]:
        match wanted:
            case HintingStarted(at, acknowledge_on_stop):
                hinting = self.state.hinting.start(at, acknowledge_on_stop=acknowledge_on_stop)
            case HintingStopped():
                hinting = self.state.hinting.done()
        return self._hinting_is(hinting)

    def _hinting_is(self, hinting: Hinting) -> tuple[Effect, ...]:
        """Go on with a round, and tell the driver if there is something new for it."""
        before = self.state.config.free_page_hint_cmd_id
        config = self.state.config._replace(free_page_hint_cmd_id=hinting.config_value)
        self.state = replace(self.state, hinting=hinting, config=config)
        return () if hinting.config_value == before else (ConfigChanged(),)

    def _statistics_due(self) -> tuple[Effect, ...]:
        head = self.state.held_statistics_head
        if head is None:
            return ()
        self.state = replace(self.state, held_statistics_head=None)
        return (CompleteRequest(QueueRole.STATS, head),)

    def _config_written(self, write: ConfigWritten) -> tuple[Effect, ...]:
        image = bytearray(BALLOON_CONFIG.pack(self.state.config))
        piece = write.data[: max(0, len(image) - write.offset)]
        image[write.offset : write.offset + len(piece)] = piece
        written = BALLOON_CONFIG.unpack(image)
        # A front-end may write the whole region back for one field: only the driver's own fields count.
        changes = {name: getattr(written, name) for name in DRIVER_WRITES}
        self.counters.config_writes += 1
        self.migrations.forget_inflated()
        self.state = replace(self.state, config=self.state.config._replace(**changes))
        return ()

    def _target_set(self, num_pages: int) -> tuple[Effect, ...]:
        if num_pages == self.state.config.num_pages:
            return ()
        self.state = replace(self.state, config=self.state.config._replace(num_pages=num_pages))
        return (ConfigChanged(),)

    def _queue_started(self, start: QueueStarted) -> None:
        self.state = replace(self.state, running=self.state.running | {start.role})
        if start.fresh and start.role is QueueRole.INFLATE:
            # The target is the operator's and stays. poison_val was written before the queues ran (5.5.6.6.1).
            config = self.state.config._replace(actual=0)
            self.state = replace(self.state, config=config, statistics=None, recalled_statistics_head=None)
            self.frame_map.clear()
            self.migrations.clear()
        if start.fresh and start.role is QueueRole.FREE_PAGE:
            self._hinting_is(self.state.hinting.reset())

    def _queue_stopped(self, role: QueueRole) -> None:
        self.state = replace(self.state, running=self.state.running - {role})
        self.migrations.forget_inflated()
        if role is QueueRole.STATS:
            head = self.state.held_statistics_head
            self.state = replace(self.state, held_statistics_head=None, recalled_statistics_head=head)
