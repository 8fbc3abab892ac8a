"""What a balloon has done since the daemon started: running totals that never fall."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Plain numbers, added to while serving and read when somebody asks."""

    inflate_requests: int = 0
    inflated_frames: int = 0
    deflate_requests: int = 0
    deflated_frames: int = 0
    reporting_requests: int = 0
    reported_frames: int = 0
    hinted_frames: int = 0
    stale_hints: int = 0
    """Commands and lists of a round that is over, or that was never begun: ignored."""
    statistics_updates: int = 0
    config_writes: int = 0
    repeated_frames: int = 0
    """Named twice in one request, inflated while held, or deflated while not held."""
    foreign_frames: int = 0
    """Outside the guest's memory, or in a hole of it: ignored."""
    odd_bytes: int = 0
    """Behind the last whole page frame number of a request: ignored."""
    migrated_frames: int = 0
    """Of the balloon that became others: inflated and deflated once each, and so counted there too."""
    release_errors: int = 0
    guest_errors: int = 0
