"""What others read of a balloon that is being served: transports, the API, policies.

Rules of this file:

* Nothing here changes the balloon, waits, or needs the lock. What is read is as the last request left it, whether or
  not another one is under way.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..balloon.device import MAX_NUM_PAGES, BalloonDevice
from ..balloon.statistics import Statistics
from ..clock import Clock
from ..config.models import BalloonSettings
from ..events.log import EventLog
from ..histogram import Histogram
from ..memory.guest_memory import GuestMemory
from ..offload import Offload
from .heard import Heard
from .link import Link, NoLink
from .releasing import Releasing
from .resizing import Resizing
from .serving import Serving
from .target import Target
from .telling import Telling

if TYPE_CHECKING:
    from ..balloon.frame_pictures import GuestView

StateName = Literal["waiting", "running", "paused", "broken"]
FreeBlocks = Callable[[], tuple[int, int]]
"""Returns the guest's free frames, and how many of them lie in free blocks of huge-page size."""


class KnownBalloon:
    """A balloon, as far as it can be read.

    Args:
        settings: Its configuration.
        clock: The time.
        offload: Where long calls run.
        events: Is told what happens.
    """

    target: Target
    """What size it is to have."""
    _serving: Serving

    def __init__(self, settings: BalloonSettings, clock: Clock, offload: Offload, events: EventLog | None) -> None:
        self.settings = settings
        self.memory = GuestMemory()
        self.device: Final = BalloonDevice()
        self.telling: Final = Telling(events or EventLog("", clock.now), settings.name, clock, self)
        self.releasing: Final = Releasing(settings, offload, self.device.counters)
        self.broken_reason: str | None = None
        self.driven_since_s: float | None = None
        """Since when a driver of this connection is there, by the monotonic clock; None: none has come."""
        self.retired = False
        self.statistics_interval_s = settings.stats_interval_s
        self.clock: Final = clock
        self.free_blocks: FreeBlocks | None = None
        """Tells how the guest's free memory lies; None where it cannot say, as a virtual machine."""
        self.guest_view: GuestView | None = None
        """How the guest itself sees its frames; None where it cannot say, as a virtual machine."""
        self._link: Link = NoLink()
        self._heard: Final = Heard(clock, self.device.counters)

    # Its driver, and what it is reached by.

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
    def started(self) -> bool:
        """Whether any queue has run since the front-end connected."""
        return self.driven_since_s is not None

    @property
    def state_name(self) -> StateName:
        """Whether there is a driver, and how it does."""
        if self.broken_reason is not None:
            return "broken"
        if self.device.state.running:
            return "running"
        return "paused" if self.started else "waiting"

    def is_broken(self) -> bool:
        """Whether the driver broke the balloon and has not set it up again."""
        return self.broken_reason is not None

    @property
    def can_hint(self) -> bool:
        """Whether there is a driver that can be asked for hints."""
        return QueueRole.FREE_PAGE in self.device.state.running and not self.is_broken()

    # Its queues.

    @property
    def running_queues(self) -> tuple[int, ...]:
        """The numbers of the queues that run."""
        return tuple(self._serving.queues)

    @property
    def turns_s(self) -> Histogram:
        """How long turns on its queues took."""
        return self._serving.turns_s

    def turn_lasts_s(self) -> float:
        """For how long a request has been under way; 0: none is."""
        return self._serving.turn_lasts_s()

    def silent_s(self) -> float:
        """For how long nothing was heard of the driver."""
        return self._heard.silent_s()

    # Its sizes.

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

    def limit_bytes(self) -> int:
        """The largest target there may be now: the memory, the configured memory while unknown, ``max`` at most."""
        known = self.memory.size_bytes or self.settings.memory or _MAX_TARGET_BYTES
        return min(known, _MAX_TARGET_BYTES if self.settings.max is None else self.settings.max, _MAX_TARGET_BYTES)

    @property
    def resizing(self) -> Resizing:
        """The resizes, the newest and those before."""
        return self.target.resizing

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the configuration space; zeros beyond its end."""
        return self.device.read_config(offset, length)


_MAX_TARGET_BYTES: Final = MAX_NUM_PAGES * FRAME_BYTES
