"""What became of a round of free page hinting, for the log: one line when it is over."""

from datetime import datetime
from typing import Any, Final

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.facts import Fact, HintingStarted, HintingStopped
from ..balloon.hinting import Hinting, HintingStage

_OPEN: Final = frozenset({HintingStage.REQUESTED, HintingStage.RUNNING, HintingStage.ENDED})


def ended_round(before: Hinting, after: Hinting, fact: Fact, now: datetime) -> dict[str, Any] | None:
    """Return what is to be said of the round ``before``; None where it goes on, or was over already.

    ``outcome`` is "done" where the driver had listed all, "stopped" where it was told to stop before that, "superseded"
    by a round that was begun meanwhile, or "abandoned" where another driver came.
    """
    if before.stage not in _OPEN or (after.stage in _OPEN and after.command_id == before.command_id):
        return None
    last = after if after.command_id == before.command_id and after.stage is HintingStage.DONE else before
    return {
        "round": before.command_id,
        "outcome": _outcome(before, after, fact),
        "hinted_bytes": last.hinted_frames * FRAME_BYTES,
        "duration_s": None if before.started_at is None else round((now - before.started_at).total_seconds(), 6),
    }


def _outcome(before: Hinting, after: Hinting, fact: Fact) -> str:
    if isinstance(fact, HintingStarted):
        return "superseded"
    if after.stage is not HintingStage.DONE:
        return "abandoned"
    stopped = isinstance(fact, HintingStopped) and before.stage is not HintingStage.ENDED
    return "stopped" if stopped else "done"
