"""How sizes, times and rates are written for people."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from ..sizes import format_size

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20


def size(value: int | None) -> str:
    """Write a size that may be unknown."""
    return "?" if value is None else format_size(value)


def size_argument(value_bytes: int) -> str:
    """Write a size as a command takes it, exactly: frames are whole KiB."""
    return f"{value_bytes // _MIB}MiB" if value_bytes % _MIB == 0 else f"{value_bytes // _KIB}KiB"


def duration(seconds: float) -> str:
    """Write a duration in two parts at most."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days"


def clock_time(moment: str | None) -> str:
    """Write the time of day of a moment that the API named, by the clock here."""
    parsed = time_of(moment)
    return "--:--:--" if parsed is None else parsed.astimezone().strftime("%H:%M:%S")


def date_and_time(moment: str | None) -> str:
    """Write a moment that the API named, by the clock here."""
    parsed = time_of(moment)
    return "-" if parsed is None else parsed.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def time_of(moment: Any) -> datetime | None:
    """Return the moment that the API named; None where it named none."""
    if not isinstance(moment, str):
        return None
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None


def seconds_between(earlier: str | None, later: str | None) -> float | None:
    """Return how long it was from one moment to another; None unless both are known."""
    begun, ended = time_of(earlier), time_of(later)
    return None if begun is None or ended is None else (ended - begun).total_seconds()


def resize_in_words(resize: Mapping[str, Any] | None) -> str:
    """Say how a resize goes, or went."""
    if resize is None:
        return "none yet"
    number = f"#{resize['id']}"
    outcome = resize.get("outcome") or ("done" if resize.get("done") else None)
    if outcome is not None:
        return f"{number} {outcome}{_took(resize)}"
    if resize.get("stalled"):
        return f"{number} stalled: {resize['stalled']}"
    return f"{number} under way, {format_size(resize['rate_bytes_per_s'])}/s"


def _took(resize: Mapping[str, Any]) -> str:
    took_s = seconds_between(resize.get("started_at"), resize.get("ended_at"))
    return "" if took_s is None else f" after {duration(took_s)}"
