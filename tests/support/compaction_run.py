"""What a run of compaction comes to, as the balloon device and the guest's own counters see it."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from guest_driver.guest import Guest
from guest_driver.kernel import Thread
from guest_driver.mm.compaction import compact_memory
from guest_driver.virtual_time import run_until
from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature
from vballoond.balloon.facts import ConfigWritten, Fact, Request
from vballoond.lab.direct_device import DirectDevice

PAGEBLOCK_ORDER: Final = 10  # without transparent huge pages
FRAMES_PER_MIB: Final = 256

Asked = tuple[str, tuple[int, ...]]
"""What the driver asked for: the queue and the frames, or "actual" and what was written there."""

Move = tuple[int, int]
"""The frame that the balloon gave up, and the one that it took instead."""


def asked_by(fact: Fact) -> Asked | None:
    """What a fact says that the driver asked for; None where it says something else."""
    match fact:
        case Request(role=role, data=data):
            return role.value, tuple(np.frombuffer(data, dtype="<u4").tolist())
        case ConfigWritten(offset=offset, data=data) if offset == BALLOON_CONFIG.offset_of("actual"):
            return "actual", (int.from_bytes(data, "little"),)
    return None


@dataclass(frozen=True)
class CompactionRun:
    """One run of compaction in a guest with a balloon, and what was before and after it."""

    inflating: list[Asked]
    compacting: list[Asked]
    deflating: list[Asked]
    """Of the whole balloon, after compaction: in the order in which its pages stand on its list then."""
    counters: dict[str, int]
    """How far compaction moved the lines of /proc/vmstat."""

    def held_before(self) -> set[int]:
        """The frames of the balloon when compaction began."""
        return {frame for role, frames in self.inflating if role == QueueRole.INFLATE.value for frame in frames}

    def deflated(self) -> set[int]:
        """The frames that the balloon gave back in the end."""
        return {frame for role, frames in self.deflating if role == QueueRole.DEFLATE.value for frame in frames}

    def moves(self) -> list[Move]:
        """The pages of the balloon that were moved. They must be told as such: each new frame, then the old one."""
        told, untold = self.compacting[::2], self.compacting[1::2]
        assert {role for role, _ in told} == {QueueRole.INFLATE.value}
        assert {role for role, _ in untold} == {QueueRole.DEFLATE.value}
        assert len(told) == len(untold)
        assert all(len(frames) == 1 for _, frames in self.compacting)
        return [(old, new) for (_, (new,)), (_, (old,)) in zip(told, untold, strict=True)]


class RecordingDevice(DirectDevice):
    """Remembers what the driver asked for."""

    def __init__(self, guest: Guest) -> None:
        self.asked: Final[list[Asked]] = []
        super().__init__(guest, BalloonFeature.MUST_TELL_HOST | RingFeature.VERSION_1)

    def _feed(self, fact: Fact) -> None:
        asked = asked_by(fact)
        if asked is not None:
            self.asked.append(asked)
        super()._feed(fact)


class ModelledGuest:
    """A modelled guest of the generation and configuration of user-mode Linux 6.1, with its balloon driver."""

    def __init__(self, memory_mib: int) -> None:
        self.guest: Final = Guest(memory_mib << 20, interface="2022", pageblock_order=PAGEBLOCK_ORDER)
        self.device: Final = RecordingDevice(self.guest)
        self.balloon: Final = self.guest.load_driver(self.device)
        self.settle()
        self.device.asked.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.guest.close()
        self.device.close()

    def run(self, thread: Thread) -> None:
        """Run a thread of the guest's, and all else that is to do."""
        self.guest.kernel.spawn(thread)
        self.settle()

    def settle(self) -> None:
        """Run until there is nothing more to do."""
        run_until(self.guest.kernel, self.guest.kernel.now_s)

    def set_balloon(self, frames: int) -> None:
        """Set a target and see it reached."""
        self.device.set_target(frames << 12)
        self.settle()
        assert self.balloon.num_pages == frames

    def compact(self) -> CompactionRun:
        """Compact all memory, then empty the balloon."""
        inflated = len(self.device.asked)
        before = self.guest.vmstat()
        self.run(compact_memory(self.guest.mm))
        after = self.guest.vmstat()
        compacted = len(self.device.asked)
        self.set_balloon(0)
        asked = self.device.asked
        return CompactionRun(
            asked[:inflated],
            asked[inflated:compacted],
            asked[compacted:],
            {name: after[name] - before[name] for name in after},
        )
