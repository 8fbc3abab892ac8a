"""Free page hinting: virtio 1.4 section 5.5.6.5.

Rules of this file:

* A round begins with a command ID in the configuration space. The driver repeats it, lists free memory, and ends with
  STOP. What it lists under any other ID than the one that stands there is ignored (5.5.6.5.2).
* IDs count up from 2, over all drivers of a device's life; 0 is STOP and 1 is DONE. So none comes again before its
  round has ended, unless somebody begins four thousand million rounds.
* **Hints are counted, and no more.** A hinted page may be changed only as long as the guest has not written to it, and
  a device outside of the VM monitor cannot know that: Linux takes hinted pages back when memory runs short, without a
  word, at any time. Whoever gives such a page back to the host destroys what was written meanwhile. So nothing is given
  back: hints say how much a copy of the guest could leave out, and page reporting is what gives memory back.
* When the driver has ended, DONE lets it have its pages again, at once unless whoever began the round wants to say so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES, PFN_SHIFT

from ..errors import GuestError, StateError
from ..memory.frames import FrameRange, FrameSpace
from ..virtqueue.chain import Buffer
from .counters import Counters

CMD_ID_STOP: Final = 0
CMD_ID_DONE: Final = 1
FIRST_CMD_ID: Final = 2
MAX_CMD_ID: Final = (1 << 32) - 1

_CMD_ID_BYTES: Final = 4


class HintingStage(Enum):
    """How far a round is."""

    STOPPED = "stopped"
    """None was begun with this driver."""
    REQUESTED = "requested"
    RUNNING = "running"
    ENDED = "ended"
    """The driver has listed all, and keeps it free until DONE."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Hinting:
    """The newest round."""

    stage: HintingStage = HintingStage.STOPPED
    command_id: int = FIRST_CMD_ID - 1
    """Of the round; the next one counts on from it."""
    acknowledge_on_stop: bool = True
    hinted_frames: int = 0
    started_at: datetime | None = None

    def check(self, space: FrameSpace) -> None:
        """Look at what somebody else wrote down.

        Raises:
            StateError: No round is ever so.
        """
        if not FIRST_CMD_ID - 1 <= self.command_id <= MAX_CMD_ID:
            raise StateError(f"a hinting round of command ID {self.command_id}")
        if not 0 <= self.hinted_frames <= space.frames:
            raise StateError(f"{self.hinted_frames} hinted frames, of a memory of {space.frames}")

    @property
    def config_value(self) -> int:
        """What stands in the configuration space."""
        match self.stage:
            case HintingStage.STOPPED:
                return CMD_ID_STOP
            case HintingStage.DONE:
                return CMD_ID_DONE
        return self.command_id

    def start(self, at: datetime, *, acknowledge_on_stop: bool) -> "Hinting":
        """Begin a round; one that is under way is over with it."""
        command_id = self.command_id + 1 if self.command_id < MAX_CMD_ID else FIRST_CMD_ID
        return Hinting(HintingStage.REQUESTED, command_id, acknowledge_on_stop, 0, at)

    def done(self) -> "Hinting":
        """Need the hints no more. Without a round there is nothing to say."""
        return self if self.stage is HintingStage.STOPPED else replace(self, stage=HintingStage.DONE)

    def reset(self) -> "Hinting":
        """Forget the round: another driver begins."""
        return Hinting(command_id=self.command_id)

    def command(self, data: bytes, counters: Counters) -> "Hinting":
        """Take in what the driver says of a round.

        Raises:
            GuestError: It is not four bytes long.
        """
        if len(data) != _CMD_ID_BYTES:
            raise GuestError(f"a free page hint command of {len(data)} bytes, where an ID has {_CMD_ID_BYTES}")
        command_id = int.from_bytes(data, "little")
        if command_id == self.command_id and self.stage is HintingStage.REQUESTED:
            return replace(self, stage=HintingStage.RUNNING)
        if command_id == CMD_ID_STOP and self.stage is HintingStage.RUNNING:
            ended = replace(self, stage=HintingStage.ENDED)
            return ended.done() if self.acknowledge_on_stop else ended
        counters.stale_hints += 1
        return self

    def hinted(self, buffers: Iterable[Buffer], space: FrameSpace, counters: Counters) -> "Hinting":
        """Take in free memory that the driver lists."""
        if self.stage is not HintingStage.RUNNING:
            counters.stale_hints += 1
            return self
        frames = sum(_frames_of(buffer, space) for buffer in buffers)
        counters.hinted_frames += frames
        # A driver that lists a frame twice does not have it twice.
        return replace(self, hinted_frames=min(self.hinted_frames + frames, space.frames))


def _frames_of(buffer: Buffer, space: FrameSpace) -> int:
    """Return how many whole frames of the guest's memory a buffer covers."""
    first = -(-buffer.address // FRAME_BYTES)
    end = (buffer.address + buffer.length) >> PFN_SHIFT
    return sum(piece.count for piece, _ in space.pieces(FrameRange(first, max(0, end - first))))
