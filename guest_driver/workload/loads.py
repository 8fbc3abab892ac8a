"""The loads that every guest may be given: each is data, and runs as a thread of the guest.

All are patient: they do their work every tenth of a second, as much as is due.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from ..kernel import Thread
from .machine import Machine

TICK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Idle:
    """A guest that was booted and is left alone: a little of everything, now and then."""

    every_s: float = 10.0

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            yield self.every_s * machine.random.uniform(0.5, 1.5)
            machine.read_files(mib=0.25)
            machine.churn_kernel(20, low_share=0.005, high_share=0.02)


@dataclass(frozen=True, slots=True)
class FileCache:
    """Files that are read for the first time, at a steady rate."""

    mib_per_s: float = 6.5

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            yield TICK_S
            machine.read_files(mib=self.mib_per_s * TICK_S)


@dataclass(frozen=True, slots=True)
class Slab:
    """Inodes and directory entries of more and more files."""

    mib_per_s: float = 0.65
    at_most_share: float = 0.08

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            yield TICK_S
            machine.look_up_files(mib=self.mib_per_s * TICK_S, at_most_share=self.at_most_share)


@dataclass(frozen=True, slots=True)
class KernelChurn:
    """The kernel's own pages come and go: page tables, stacks, buffers."""

    events_per_s: int = 2000
    low_share: float = 0.02
    high_share: float = 0.045

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            yield TICK_S
            events = round(self.events_per_s * TICK_S)
            machine.churn_kernel(events, low_share=self.low_share, high_share=self.high_share)


@dataclass(frozen=True, slots=True)
class Job:
    """One process after the other: each grows steadily to a size of chance, and exits.

    ``huge_pages``: as many are tried for at its start, as by a heap that is aligned for them, if it is to grow larger.
    """

    min_mib: float = 8.0
    max_mib: float = 40.0
    grows_for_s: float = 30.0
    huge_pages: int = 1

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            process = machine.process()
            frames = machine.frames(mib=machine.random.uniform(self.min_mib, self.max_mib))
            steps = max(1, round(self.grows_for_s * machine.random.uniform(0.5, 1.5) / TICK_S))
            for _ in range(self.huge_pages):
                if process.resident_frames() + machine.huge_page_frames < frames:
                    yield from process.fault_in_huge()
            frames -= process.resident_frames()
            for step in range(steps):
                yield TICK_S
                yield from process.fault_in(frames * (step + 1) // steps - frames * step // steps)
            process.kill()


@dataclass(frozen=True, slots=True)
class Anonymous:
    """A program that takes ``mib`` within ``grows_for_s`` and keeps it; in huge pages where it can, if it wants."""

    mib: float = 64.0
    grows_for_s: float = 10.0
    huge_pages: bool = False

    def run(self, machine: Machine) -> Thread:
        """Run until the program has its memory, which it keeps."""
        process = machine.process()
        wanted = machine.frames(mib=self.mib)
        began_s = machine.now_s
        while process.resident_frames() < wanted:
            yield TICK_S
            share = min(1.0, (machine.now_s - began_s) / self.grows_for_s) if self.grows_for_s else 1.0
            while process.resident_frames() < wanted * share:
                missing = round(wanted * share) - process.resident_frames()
                if self.huge_pages:
                    yield from process.fault_in_huge()
                else:
                    yield from process.fault_in(max(1, missing))


@dataclass(frozen=True, slots=True)
class Spike:
    """A burst: ``mib`` at once, held for a while, and again after a pause."""

    mib: float = 256.0
    hold_s: float = 20.0
    every_s: float = 120.0

    def run(self, machine: Machine) -> Thread:
        """Run for ever."""
        while True:
            yield self.every_s * machine.random.uniform(0.75, 1.25)
            process = machine.process()
            yield from process.fault_in(machine.frames(mib=self.mib))
            yield self.hold_s
            process.kill()


@dataclass(frozen=True, slots=True)
class Hog:
    """A program with a leak: it takes more and more until it is killed."""

    mib_per_s: float = 32.0

    def run(self, machine: Machine) -> Thread:
        """Run until the guest kills it."""
        process = machine.process()
        while True:
            yield TICK_S
            yield from process.fault_in(machine.frames(mib=self.mib_per_s * TICK_S))


@dataclass(frozen=True, slots=True)
class Build:
    """A kernel build: compilers, the files they read and write, and what the kernel needs for that.

    The rates are of 4 GiB, and scale with the guest's memory.
    """

    jobs: int = 10

    def run(self, machine: Machine) -> Thread:
        """Start its parts, and end; they run for ever."""
        scale = machine.memory_frames / (1 << 20)
        machine.start(FileCache(FileCache().mib_per_s * scale))
        machine.start(Slab(Slab().mib_per_s * scale))
        machine.start(KernelChurn(round(KernelChurn().events_per_s * scale)))
        for _ in range(self.jobs):
            machine.start(Job(Job().min_mib * scale, Job().max_mib * scale))
        return
        yield  # a load is a thread, though this one never sleeps


AnyLoad: TypeAlias = Anonymous | Build | FileCache | Hog | Idle | Job | KernelChurn | Slab | Spike
