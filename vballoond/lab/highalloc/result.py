"""What one run of the experiment comes to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunResult:
    """One guest, with or without balloon compaction. Passes are percent of attempts that got a huge page."""

    seed: int
    balloon_compaction: bool
    pass1: float
    pass2: float
    rested: float
    counters: dict[str, int]
    """What the guest and the device counted, by their names in /proc/vmstat and in the API."""
    curve: tuple[tuple[float, int, int], ...]
    """(seconds, huge pages held, frames in the balloon), every few seconds."""
    frame_states: bytes
    """At the end of Pass 1, a byte for each frame: ``protocol.balloon.frame_states.FrameState``; zlib."""
