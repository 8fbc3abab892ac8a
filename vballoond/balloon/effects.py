"""What a balloon device wants done, in the order given: an effect is complete before the next is begun."""

from dataclasses import dataclass
from typing import TypeAlias

from protocol.balloon.queues import QueueRole

from ..memory.frames import FrameRange


@dataclass(frozen=True, slots=True)
class ReleaseFrames:
    """Give these frames back to the host."""

    ranges: tuple[FrameRange, ...]


@dataclass(frozen=True, slots=True)
class CompleteRequest:
    """Return the buffer with this head to the driver, and notify it where it wants that."""

    role: QueueRole
    head: int


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """Tell the driver that the configuration space changed."""


Effect: TypeAlias = ReleaseFrames | CompleteRequest | ConfigChanged
