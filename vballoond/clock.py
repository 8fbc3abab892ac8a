"""Time, injected: tests set it, nothing below the daemon reads it elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """``monotonic_s`` is the event loop's time; ``now`` is what people and scripts are shown."""

    monotonic_s: Callable[[], float]
    now: Callable[[], datetime] = _utc_now
