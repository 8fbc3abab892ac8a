"""What can happen to a balloon device. Frozen, without descriptors, clocks or views of memory."""

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from protocol.balloon.queues import QueueRole

from ..memory.frames import FrameSpace
from ..virtqueue.chain import Buffer


@dataclass(frozen=True, slots=True)
class MemoryKnown:
    """The guest's memory is these frames from now on; none at all when its front-end has gone."""

    space: FrameSpace


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The driver acknowledged these ``features``; its queues run after this."""

    features: int


@dataclass(frozen=True, slots=True)
class QueueStarted:
    """A queue runs from now on.

    ``fresh``: it was set up to start from ring position 0. For the inflateq that means a driver that was just loaded:
    whatever an earlier one had inflated is the guest's own again. Otherwise the same driver goes on where it stopped.
    """

    role: QueueRole
    fresh: bool


@dataclass(frozen=True, slots=True)
class QueueStopped:
    """A queue runs no more; a buffer of it that was held is the ring's again. What is inflated stays inflated."""

    role: QueueRole


@dataclass(frozen=True, slots=True)
class Request:
    """The driver made a buffer available: ``data`` is all that it wrote there, ``writable`` what it left to write."""

    role: QueueRole
    head: int
    data: bytes
    arrived_at: datetime
    writable: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigWritten:
    """The driver, or a front-end for it, wrote ``data`` at ``offset`` of the configuration space."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TargetSet:
    """The operator wants the balloon to hold ``num_pages`` frames."""

    num_pages: int


@dataclass(frozen=True, slots=True)
class StatisticsDue:
    """Time has come to ask the driver for statistics."""


@dataclass(frozen=True, slots=True)
class HintingStarted:
    """The operator wants to know what memory of the guest is free.

    ``acknowledge_on_stop``: the guest may use it again as soon as it has listed all; otherwise when hinting is stopped.
    """

    at: datetime
    acknowledge_on_stop: bool = True


@dataclass(frozen=True, slots=True)
class HintingStopped:
    """The operator needs the hints no more."""


Fact: TypeAlias = (
    MemoryKnown
    | Negotiated
    | QueueStarted
    | QueueStopped
    | Request
    | ConfigWritten
    | TargetSet
    | StatisticsDue
    | HintingStarted
    | HintingStopped
)
