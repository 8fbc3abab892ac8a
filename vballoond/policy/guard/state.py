"""What the guard remembers from one round to the next: small, of the guests that are there, and JSON if need be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from ..view import MAX_GUESTS, Bytes, GuestView, Instant, View

_CONFIG: Final = ConfigDict(extra="forbid", strict=True)
_LONG_S: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRecord:
    """One guest. Times are the view's ``now_s``."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    first_seen_s: Instant
    actual_bytes: Bytes
    """As of the round before."""
    progress_at_s: Instant
    """When it last had nothing to do, or did it."""
    asked_at_s: Instant
    """That, or when it was tried again after a stall."""
    stalls: Annotated[int, Field(ge=0, le=1000)] = 0
    """How often it has stalled since it last moved."""
    stalled_at_s: Instant | None = None
    """Since when it is stalled; None while it is not."""
    retry_at_s: Instant = 0.0
    """When a stalled guest is tried again."""
    told: bool = False
    """Whether people have been told that it does not cooperate."""
    ordered_bytes: Bytes | None = None
    """The newest target that the guard ordered."""
    ordered_at_s: Instant = 0.0
    direction: Literal[-1, 0, 1] = 0
    """Of that order: 1 took from the guest, -1 gave to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """All guests, and when the round before was; None before the first."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    at_s: Instant | None = None
    guests: Annotated[Mapping[str, GuestRecord], Field(max_length=MAX_GUESTS)] = field(default_factory=dict)

    @classmethod
    def knowing(cls, view: View) -> "GuardState":
        """Return the state of a guard that has known the guests of ``view`` for long, for a dry run or after a start:
        none of them is new, stalled, or has been ordered anything."""  # noqa: D205, D209 (one sentence)
        return cls(guests={guest.name: _known(guest, view.now_s) for guest in view.guests})


def _known(guest: GuestView, now_s: float) -> GuestRecord:
    return GuestRecord(
        first_seen_s=now_s - _LONG_S, actual_bytes=guest.actual_bytes, progress_at_s=now_s, asked_at_s=now_s
    )
