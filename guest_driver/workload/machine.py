"""A guest as its programs see it: what a load may do with it, in the units that people think in.

A load is a function, or an object with ``run``, that takes a :class:`Machine` and is a thread of the guest: it yields
seconds to sleep. Ten lines make one::

    def run(machine):
        editor = machine.process()
        while True:
            machine.read_files(mib=2)
            yield from editor.fault_in(machine.frames(mib=0.5))
            yield 1.0
"""

import random
from typing import Final, Protocol

from protocol.balloon.page_frames import FRAME_BYTES

from ..kernel import Thread
from ..mm import page_cache, reclaim
from ..mm.mem_map import MemMap
from ..mm.oom import OomKiller
from ..mm.zone import ZoneCount
from .process import Process, ProcessKilledError

FRAMES_PER_MIB: Final = (1 << 20) // FRAME_BYTES


RESTART_S: Final = 10.0
"""A load of which a process was killed is begun again after so long, as by a service manager."""


class Load(Protocol):
    """Something that runs in a guest."""

    def run(self, machine: "Machine") -> Thread:
        """Run, for ever or until it is done. Chance comes from ``machine.random`` alone."""


class Machine:
    """The guest's programs, or those of one part of a scenario.

    Args:
        mm: Its memory.
        seed: Of all chance that loads take.
    """

    def __init__(self, mm: MemMap, seed: int = 1, *, oom: OomKiller | None = None) -> None:
        self.random: Final = random.Random(seed)  # noqa: S311 (chance that can be repeated is what is wanted)
        self.oom: Final = oom or OomKiller(mm)
        self._mm: Final = mm
        self._runs: Final[list[_Run]] = []
        self._processes: list[Process] = []
        self._parts: Final[list[Machine]] = []
        self._due: Final[dict[str, float]] = {}

    def part(self) -> "Machine":
        """Return a machine for a part of what runs here, which can be stopped by itself."""
        part = Machine(self._mm, self.random.getrandbits(32), oom=self.oom)
        self._parts.append(part)
        return part

    @property
    def now_s(self) -> float:
        """The guest's time."""
        return self._mm.kernel.now_s

    @property
    def memory_frames(self) -> int:
        """All of the guest's memory."""
        return self._mm.counts[ZoneCount.FRAMES]

    @property
    def huge_page_frames(self) -> int:
        """The frames of a huge page."""
        return 1 << self._mm.counts[ZoneCount.PAGEBLOCK_ORDER]

    def count(self, what: ZoneCount) -> int:
        """Return how many frames are of a kind."""
        return self._mm.counts[what]

    def frames(self, *, mib: float, of: str = "") -> int:
        """Return ``mib`` in frames. Fractions are kept for the next call with the same ``of``."""
        due = mib * FRAMES_PER_MIB + self._due.get(of, 0.0)
        whole = int(due)
        if of:
            self._due[of] = due - whole
        return whole

    def start(self, load: Load) -> None:
        """Run a load from now on."""
        run = _Run(self, load)
        self._runs.append(run)
        self._mm.kernel.spawn(run.thread())

    def stop(self) -> None:
        """End all loads and all their processes."""
        for part in self._parts:
            part.stop()
        for run in self._runs:
            run.stopped = True
        for process in self._processes:
            process.kill()
        self._parts.clear()
        self._runs.clear()
        self._processes.clear()

    def process(self) -> Process:
        """Start a process."""
        self._processes = [process for process in self._processes if not process.killed]
        self._processes.append(Process(self._mm, self.oom))
        return self._processes[-1]

    def read_files(self, *, mib: float) -> None:
        """Read files that were not in page cache: what they take is reclaimed again when memory is short."""
        self._take(page_cache.add_file_pages, self.frames(mib=mib, of="files"))

    def look_up_files(self, *, mib: float, at_most_share: float = 1.0) -> None:
        """Fill reclaimable slab with inodes and directory entries, up to a share of memory."""
        room = int(self.memory_frames * at_most_share) - self.count(ZoneCount.SLAB)
        self._take(page_cache.add_slab_pages, min(self.frames(mib=mib, of="slab"), max(0, room)))

    def churn_kernel(self, events: int, *, low_share: float, high_share: float) -> None:
        """Have the kernel allocate and free pages of its own, holding between two shares of memory."""
        low, high = (int(self.memory_frames * share) for share in (low_share, high_share))
        page_cache.churn_kernel_pages(self._mm.zone, events, low, high)
        self._mm.wake_kswapd()

    def drop_caches(self, *, slab: bool = False) -> None:
        """Write to /proc/sys/vm/drop_caches."""
        reclaim.drop_caches(self._mm.zone, slab)

    def _take(self, take: "page_cache.Take", frames: int) -> None:
        if frames > 0:
            take(self._mm.zone, frames)
            self._mm.wake_kswapd()


class _Run:
    """A load that runs, until it ends or is stopped."""

    def __init__(self, machine: Machine, load: Load) -> None:
        self.stopped = False
        self._machine: Final = machine
        self._load: Final = load

    def thread(self) -> Thread:
        while not self.stopped:
            running = self._load.run(self._machine)
            try:
                for slept_on in running:
                    yield slept_on
                    if self.stopped:
                        return
            except ProcessKilledError:
                yield RESTART_S
            else:
                return
            finally:
                running.close()
