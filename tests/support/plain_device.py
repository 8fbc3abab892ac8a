"""The balloon device without rings: facts in, effects out."""

from datetime import UTC, datetime
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic
from vballoond.balloon.device import BalloonDevice
from vballoond.balloon.effects import Effect, ReleaseFrames
from vballoond.balloon.facts import ConfigWritten, MemoryKnown, Negotiated, QueueStarted, Request
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.virtqueue.chain import Buffer

FRAMES: Final = 4096
HEAD: Final = 7
NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


class PlainDevice(BalloonDevice):
    """A device of a guest of 16 MiB, whose driver has just been loaded with ``features``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.handle(MemoryKnown(FrameSpace((FrameRange(0, FRAMES),))))
        self.handle(Negotiated(features))
        for role in QueueRole:
            self.handle(QueueStarted(role, fresh=True))

    def request(self, role: QueueRole, data: bytes = b"") -> tuple[Effect, ...]:
        """Make a request in which the device reads ``data``."""
        return self.handle(Request(role, HEAD, data, NOON))

    def report(self, role: QueueRole, first: int, count: int) -> tuple[Effect, ...]:
        """List free frames in a buffer that the device may write."""
        buffer = Buffer(first * FRAME_BYTES, count * FRAME_BYTES)
        return self.handle(Request(role, HEAD, b"", NOON, (buffer,)))

    def write_poison(self, value: int) -> None:
        """Write poison_val."""
        self.handle(ConfigWritten(12, value.to_bytes(4, "little")))

    @property
    def hint_command(self) -> int:
        """Which free_page_hint_cmd_id a driver reads."""
        return int.from_bytes(self.read_config(8, 4), "little")


def entries(*statistics: tuple[int, int]) -> bytes:
    """Make a statistics buffer of tags and values."""
    return b"".join(STATISTIC.pack(Statistic(tag, value)) for tag, value in statistics)


def releases(*effects: Effect) -> bool:
    """Say whether memory is given back."""
    return any(isinstance(effect, ReleaseFrames) for effect in effects)
