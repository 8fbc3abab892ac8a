"""Reservations: memory of the host that is to be free by a given time."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictInt

from ...policy.reservations import MAX_WAIT_S, Reservation
from ...runner.reports import reservation_report
from .base import In, Out

_Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class ReservationRequest(In):
    """How much memory is to be free, and by when."""

    bytes: StrictInt
    """How much."""

    within_s: _Seconds = Field(default=60.0, description=f"By when, in seconds from now; {MAX_WAIT_S:.0f} at most.")
    keep_s: _Seconds = Field(default=300.0, description="How long it is kept once it is there, unless it is claimed.")
    purpose: Annotated[str, Field(max_length=200)] = ""
    """For people."""


class ReservationClaim(In):
    """Who takes the memory."""

    balloon: str | None = Field(
        default=None, description="The guest that takes it little by little: it is held for that a while."
    )


class ReservationView(Out):
    """A reservation."""

    id: int
    """By which paths name it."""

    bytes: int
    """How much memory is to be free, beside the host's reserve and the reservations before."""

    gathered_bytes: int
    """How much of it is."""

    state: Literal["asked", "gathering", "ready", "claimed", "expired", "failed"]
    """expired: it was ready and nobody claimed it, or it was cancelled."""

    reason: str | None = Field(description="What is in the way, or why it came to nothing.")
    purpose: str
    """For people."""

    asked_at: datetime
    """When it was asked for."""

    by: datetime
    """When it is to be ready."""

    changed_at: datetime
    """When it came to this state."""

    keep_s: float
    """How long it is kept once it is ready."""

    claimed_by: str | None
    """The balloon whose guest takes it."""


class ReservationList(Out):
    """All that are open, and those that ended a while ago."""

    reservations: list[ReservationView]
    """The newest first."""


def reservation_view(reservation: Reservation) -> ReservationView:
    """Show a reservation."""
    return ReservationView(**reservation_report(reservation))
