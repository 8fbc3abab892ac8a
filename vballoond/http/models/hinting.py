"""Rounds of free page hinting."""

from datetime import datetime
from typing import Literal

from pydantic import Field, StrictBool

from protocol.balloon.page_frames import FRAME_BYTES

from ...service.balloon_service import BalloonService
from .base import In, Out


class HintingStart(In):
    """A round of free page hinting. The body may be left out."""

    acknowledge_on_stop: StrictBool = True
    """Let the driver have again what it listed, as soon as it has listed all."""


class HintingView(Out):
    """The newest round of free page hinting. Nothing is given back for hints: they say how much memory is free."""

    name: str
    """The balloon."""

    state: Literal["stopped", "requested", "running", "ended", "done"] = Field(
        description="ended: the driver has listed all, and keeps it free until the round is stopped."
    )
    command_id: int | None = Field(description="Of the round; null where there was none.")
    hinted_bytes: int
    """Free memory that was listed."""

    started_at: datetime | None
    """When the round was begun; null where there was none."""


def hinting_view(service: BalloonService) -> HintingView:
    """Return the newest round of hinting as the API shows it."""
    hinting = service.device.state.hinting
    stage = hinting.stage
    return HintingView(
        name=service.settings.name,
        state=stage.value,
        command_id=hinting.command_id if hinting.started_at is not None else None,
        hinted_bytes=hinting.hinted_frames * FRAME_BYTES,
        started_at=hinting.started_at,
    )
