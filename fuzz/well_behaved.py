"""A driver that keeps all rules and follows its target, beside all the garbage; each resize is checked.

Checked are the frame map against the frames that were given, the memory (what was given reads as zeros, what was kept
is as it was), and that the balloon runs and never counted an error of its guest.
"""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME, PageFrame
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature

from .api import Api
from .finding import Finding
from .front_end import FrontEnd, config_write
from .vm import MIB, OWN_BYTES, RING_FEATURES, Vm
from .worker import Note

RAM_BYTES: Final = 32 * MIB
_REQUEST_FRAMES: Final = 256
_REPORTED_FRAMES: Final = 16
_FEATURES: Final = int(RingFeature.VERSION_1 | BalloonFeature.MUST_TELL_HOST | BalloonFeature.PAGE_REPORTING)
_OWN_FRAMES: Final = OWN_BYTES // FRAME_BYTES
_FRAMES: Final = RAM_BYTES // FRAME_BYTES


class WellBehaved:
    """A guest that connects when it first has something to do, and stays until it rests."""

    def __init__(self, name: str, path: Path, api: Api) -> None:
        self.name: Final = name
        self.targets_reached = 0
        self._path: Final = path
        self._api: Final = api
        self._vm: Vm | None = None
        self._front_end: FrontEnd | None = None
        self._free: list[int] = []
        self._held: list[int] = []

    def step(self, random: Random, note: Note) -> None:
        """Be given a target, reach it, and check what came of it."""
        if self._front_end is None or self._vm is None:
            self._connect(random, note)
        target = random.choice([frames for frames in range(0, 6001, 500) if frames != len(self._held)])
        note(f"target of {target} frames")
        self._set_target(target)
        while len(self._held) != target:
            self._resize(random, target - len(self._held))
        self._report(random)
        self._check(target)
        self.targets_reached += 1

    def rest(self) -> None:
        """Power off."""
        if self._front_end is not None:
            self._front_end.socket.close()
        if self._vm is not None:
            self._vm.close()
        self._vm = self._front_end = None

    def _connect(self, random: Random, note: Note) -> None:
        choice = random.getrandbits(64) & (RING_FEATURES | RingFeature.RING_PACKED)
        self._front_end = FrontEnd.welcomed(self._path)
        features = (_FEATURES | choice) & self._front_end.features()
        note(f"connects with features {features:#x}")
        self._vm = Vm(features, ram_bytes=RAM_BYTES)
        self._held, self._free = [], list(range(_OWN_FRAMES, _FRAMES))
        self._use(self._free)
        self._front_end.do(self._vm.monitor.conversation(table=random.random() < 0.5))
        self._set_target(0)

    def _set_target(self, frames: int) -> None:
        assert self._vm is not None
        if self._num_pages() == frames:
            return
        self._api.set_target(self.name, frames * FRAME_BYTES)
        while self._num_pages() != frames:
            self._vm.monitor.await_config_change()

    def _num_pages(self) -> int:
        assert self._front_end is not None
        return BALLOON_CONFIG.unpack(self._front_end.read_config(BALLOON_CONFIG.size)).num_pages

    def _resize(self, random: Random, frames: int) -> None:
        assert self._vm is not None
        assert self._front_end is not None
        giver, taker, role = (
            (self._free, self._held, QueueRole.INFLATE) if frames > 0 else (self._held, self._free, QueueRole.DEFLATE)
        )
        if random.random() < 0.3:
            random.shuffle(giver)
        count = min(abs(frames), _REQUEST_FRAMES)
        moved = [giver.pop() for _ in range(count)]
        self._vm.serve(role, b"".join(PAGE_FRAME.pack(PageFrame(pfn)) for pfn in moved))
        taker.extend(moved)
        if role is QueueRole.DEFLATE:
            self._use(moved)
        self._front_end.do([config_write(BALLOON_CONFIG.offset_of("actual"), len(self._held).to_bytes(4, "little"))])

    def _report(self, random: Random) -> None:
        """Report free memory, and use it again."""
        assert self._vm is not None
        first = random.choice(self._free)
        count = min(_REPORTED_FRAMES, _FRAMES - first)
        pfns = range(first, first + count)
        if set(pfns).isdisjoint(self._held):
            self._vm.report(first * FRAME_BYTES, count * FRAME_BYTES)
            if self._words()[first : first + count].any():
                raise Finding(f"frames {first} to {first + count} were reported, and are not given back")
            self._use(pfns)

    def _use(self, pfns: Iterable[int]) -> None:
        assert self._vm is not None
        for pfn in pfns:
            self._vm.ram.write(pfn * FRAME_BYTES, pfn.to_bytes(8, "little"))

    def _words(self) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
        """Return the first word of each frame."""
        assert self._vm is not None
        with self._vm.ram.view(0, RAM_BYTES) as view:
            return np.frombuffer(view, dtype="<u8")[:: FRAME_BYTES // 8].copy()

    def _check(self, target: int) -> None:
        balloon = self._api.get(f"/v1/balloons/{self.name}")
        expected = {"state": "running", "reason": None, "held_frames": target, "actual_bytes": target * FRAME_BYTES}
        found = {key: balloon[key] for key in expected}
        if found != expected or not balloon["resize"]["done"]:
            raise Finding(f"a balloon that reached its target is {found}, its resize {balloon['resize']}")
        if balloon["counters"]["guest_errors"]:
            raise Finding("a driver that keeps the rules is said to have broken one")
        self._check_map(self._api.get(f"/v1/balloons/{self.name}/frames"))
        words = self._words()
        kept = np.arange(_FRAMES, dtype=np.uint64)
        kept[self._held] = 0
        wrong = np.flatnonzero(words[_OWN_FRAMES:] != kept[_OWN_FRAMES:]) + _OWN_FRAMES
        if wrong.size:
            raise Finding(f"the memory of {wrong.size} frames is not as it must be, the first is {wrong[0]}")

    def _check_map(self, frames: Any) -> None:
        listed = {pfn for part in frames["ranges"] for pfn in range(part["first"], part["first"] + part["count"])}
        if listed != set(self._held):
            wrong = sorted(listed.symmetric_difference(self._held))
            raise Finding(f"the map is wrong about {len(wrong)} frames, the first is {wrong[0]}")
