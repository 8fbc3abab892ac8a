"""One run of the experiment: a guest under load, its balloon going up and down, and three passes of huge allocations.

Everything that the balloon does goes through the driver's rings and the daemon's device, migrations too: what
``balloon_migrate`` counts, the device has seen as an inflate of one frame and a deflate of another. The run checks that
the guest's balloon and the device's frame map agree when it ends.
"""

import functools
import zlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from guest_driver.guest import Guest
from guest_driver.kernel import Thread
from guest_driver.mm.compaction import alloc_high_order
from guest_driver.mm.page_flags import Migratetype
from guest_driver.mm.watermarks import set_min_free_frames
from guest_driver.mm.zone import PAGEBLOCK_ORDER, ZoneCount
from guest_driver.virtual_time import run_until
from guest_driver.workload.loads import Build
from guest_driver.workload.machine import Machine
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature

from ...balloon import frame_pictures
from ...memory.frames import FrameRange
from ..direct_device import DirectDevice
from ..guest_view import guest_view_of
from .result import RunResult
from .setting import MIB, Setting

_FEATURES: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.MUST_TELL_HOST
_MIGRATE_FAIL_PPM: Final = 50_000
"""Of the pages that compaction tries to move, how many are pinned or under I/O. In the published runs 12 % to 17 % of
moves failed, with a disk under load."""
_RESTED_MIN_FREE_BYTES: Final = MIB  # the benchmark sets vm.min_free_kbytes so before the last pass
_SAMPLE_EVERY_S: Final = 5.0
_PATIENCE: Final = 100  # samples' time that a guest has to follow its last target

Progress = Callable[[float], None]


def run(setting: Setting, seed: int, *, balloon_compaction: bool, progress: Progress) -> RunResult:
    """Do one run.

    Args:
        setting: What is tried.
        seed: Of all chance in it: the same seed gives the same result.
        balloon_compaction: Whether balloon pages can be moved ("patched") or not ("clean").
        progress: Told how much is done, from 0 to 1, a few hundred times.
    """
    experiment = _Run(setting, seed, balloon_compaction=balloon_compaction, progress=progress)
    try:
        return experiment.run()
    finally:
        experiment.close()


@functools.cache
def warm_up() -> None:
    """Have everything that a run needs compiled and kept on disk, by a run of a tiny guest."""
    tiny = Setting("tiny", "", guest_mib=64, balloon_mib=8, chunk_mib=2, chunk_every_s=2, settle_s=8, rest_s=2)
    for balloon_compaction in (False, True):
        run(tiny, 1, balloon_compaction=balloon_compaction, progress=lambda _: None)


class _Run:
    def __init__(self, setting: Setting, seed: int, *, balloon_compaction: bool, progress: Progress) -> None:
        self._setting: Final = setting
        self._seed: Final = seed
        self._balloon_compaction: Final = balloon_compaction
        self._progress: Final = progress
        size = setting.guest_mib * MIB
        self._guest: Final = Guest(size, "highalloc", balloon_compaction=balloon_compaction, seed=seed)
        self._mm: Final = self._guest.mm
        self._mm.counts[ZoneCount.MIGRATE_FAIL_PPM] = _MIGRATE_FAIL_PPM
        self._device: Final = DirectDevice(self._guest, _FEATURES)
        self._machine: Final = Machine(self._mm, seed)
        self._held: Final[list[int]] = []
        self._curve: Final[list[tuple[float, int, int]]] = []
        huge_pages = setting.guest_mib * MIB >> (PAGEBLOCK_ORDER + 12)
        self._attempts: Final = huge_pages * setting.attempts_percent // 100
        self._pass_s: Final = self._attempts * setting.attempt_every_s
        self._end_s: Final = setting.settle_s + 3 * self._pass_s + 2 * setting.between_passes_s + setting.rest_s

    def run(self) -> RunResult:
        """Run it all."""
        setting = self._setting
        self._guest.load_driver(self._device)
        self._machine.start(Build())
        for thread in (self._move_balloon(), self._sample()):
            self._mm.kernel.spawn(thread)
        self._until(setting.settle_s)
        pass1, states = self._pass()
        self._until(self._mm.kernel.now_s + setting.between_passes_s)
        pass2, _ = self._pass()
        self._until(self._mm.kernel.now_s + setting.rest_s)
        self._rest()
        self._until(self._mm.kernel.now_s + setting.between_passes_s)
        rested, _ = self._pass()
        self._check_map()
        counters = self._guest.vmstat() | asdict(self._device.device.counters)
        return RunResult(
            self._seed, self._balloon_compaction, pass1, pass2, rested, counters, tuple(self._curve), states
        )

    def close(self) -> None:
        """Let go of the guest."""
        self._device.close()
        self._guest.close()

    def _until(self, end_s: float) -> None:
        while self._mm.kernel.now_s < end_s:
            run_until(self._mm.kernel, min(end_s, self._mm.kernel.now_s + _SAMPLE_EVERY_S))
            self._progress(min(1.0, self._mm.kernel.now_s / self._end_s))

    def _move_balloon(self) -> Thread:
        """Inflate chunk by chunk up to the full balloon, deflate down to nothing, and so on."""
        target, step = 0, self._setting.chunk_mib
        while True:
            yield self._setting.chunk_every_s
            if not 0 <= target + step <= self._setting.balloon_mib:
                step = -step
            target += step
            self._device.set_target(target * MIB)

    def _pass(self) -> tuple[float, bytes]:
        """Try for huge pages, one after the other, and hold all; return percent of success and the frames then."""
        attempts_left = [self._attempts]
        self._mm.kernel.spawn(self._attempt_all(attempts_left))
        self._until(self._mm.kernel.now_s + self._pass_s)
        while attempts_left[0]:
            self._until(self._mm.kernel.now_s + self._setting.attempt_every_s)
        success = 100 * len(self._held) / self._attempts
        states = zlib.compress(self._picture())
        for page in self._held:
            self._mm.free_pages(page, PAGEBLOCK_ORDER)
        self._held.clear()
        return success, states

    def _picture(self) -> bytes:
        window = FrameRange(0, self._guest.total_frames)
        guest_view = guest_view_of(self._guest)
        return frame_pictures.picture(self._device.device.frame_map, guest_view, window).tobytes()

    def _attempt_all(self, left: list[int]) -> Thread:
        while left[0]:
            page = yield from alloc_high_order(self._mm, PAGEBLOCK_ORDER, int(Migratetype.MOVABLE))
            if page is not None:
                self._held.append(page)
            left[0] -= 1
            yield self._setting.attempt_every_s

    def _rest(self) -> None:
        """End the load and drop caches, as the benchmark does before its last pass."""
        self._machine.stop()
        self._machine.drop_caches(slab=True)
        set_min_free_frames(self._guest.zone, _RESTED_MIN_FREE_BYTES // FRAME_BYTES)

    def _sample(self) -> Thread:
        while True:
            balloon = self._guest.balloon
            frames = balloon.num_pages if balloon is not None else 0
            self._curve.append((self._mm.kernel.now_s, len(self._held), frames))
            yield _SAMPLE_EVERY_S

    def _check_map(self) -> None:
        """Wait until the balloon has its size, and compare it with the device's frame map."""
        balloon, device = self._guest.balloon, self._device.device
        assert balloon is not None
        for _ in range(_PATIENCE):
            if balloon.num_pages == device.state.config.num_pages:
                break
            self._until(self._mm.kernel.now_s + _SAMPLE_EVERY_S)
        assert device.frame_map.held_frames == balloon.num_pages == device.state.config.actual
