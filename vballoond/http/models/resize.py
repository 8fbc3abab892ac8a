"""Resizes: the size that a balloon is to have, and how it gets there."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from ...balloon.resize import MAX_DEADLINE_S, Resize, Terms
from ...service.balloon_service import BalloonService
from ...service.reports import resize_report
from ...service.stalls import Code
from .base import In, Out


class TargetChange(In):
    """The size that a balloon is to have, which is the guest's loss: one of the two fields.

    And what is to become of it where the guest gets no further.
    """

    target_mib: StrictInt | None = None
    """In MiB."""

    target_bytes: StrictInt | None = None
    """In bytes; part of a frame does not count."""

    settle: StrictBool = Field(
        default=False,
        description="Move the target to what was reached: at the deadline, or without one, when the guest has no more.",
    )
    deadline_s: Annotated[float, Field(strict=True, gt=0, le=MAX_DEADLINE_S, allow_inf_nan=False)] | None = Field(
        default=None, description="The resize is over after so many seconds, whatever was reached."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.target_mib is None) == (self.target_bytes is None):
            raise ValueError("give exactly one of target_mib and target_bytes")
        return self

    @property
    def in_bytes(self) -> int:
        """The target in bytes."""
        return self.target_bytes if self.target_bytes is not None else (self.target_mib or 0) << 20

    @property
    def terms(self) -> Terms:
        """What is to become of the resize where it gets no further."""
        return Terms(self.settle, self.deadline_s)


class ResizeView(Out):
    """A resize, from the target that was set until it was reached, or it was over for another reason."""

    id: int = Field(description="Counted for each balloon, from 1 in each process of the daemon.")
    by: Literal["operator", "policy", "daemon"] = Field(
        description="Who set the target. The daemon does where it cuts one to the guest's memory, gives everything "
        "back, or goes on after a restart."
    )
    target_bytes: int
    """What the balloon was to hold."""

    from_bytes: int = Field(description="What the balloon held when it began.")
    reached_bytes: int = Field(description="What it holds now, or held when it was over.")
    started_at: datetime
    """When the target was set."""

    ended_at: datetime | None
    """When it was over; null while it goes on."""

    progress: float = Field(description="How much of the way is done, from 0 to 1.")
    rate_bytes_per_s: int
    """How fast it goes, or went."""

    expected_at: datetime | None = Field(description="When it is done if it goes on as now; null where nothing moves.")
    stalled: str | None = Field(description="Why nothing moves; null while it does, and once it is over.")
    stall: Code | None = Field(description="The same, for programs.")
    settle: bool
    """Whether the target moves to what was reached where the guest gets no further."""

    deadline_at: datetime | None
    """When it is over whatever was reached; null where there is no deadline."""

    outcome: Literal["done", "superseded", "settled", "expired"] | None = Field(description="null while it goes on.")
    done: bool = Field(description="Whether the target was reached.")


class ResizeList(Out):
    """The resizes of a balloon that are remembered, the newest first."""

    name: str
    """The balloon."""

    resizes: list[ResizeView]
    """At most 64."""


def resize_view(service: BalloonService, resize: Resize) -> ResizeView:
    """Show a resize as it is now."""
    stall = service.target.stall() if resize is service.resizing.current else None
    return ResizeView(**resize_report(resize, stall, service.clock.monotonic_s()))
