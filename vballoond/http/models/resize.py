"""A resize as it goes."""

from datetime import datetime

from pydantic import Field

from protocol.balloon.page_frames import FRAME_BYTES

from ...service.balloon_service import BalloonService
from ..stalls import stall_reason
from .base import Out


class ResizeView(Out):
    """The newest resize of a balloon."""

    id: int
    target_bytes: int
    started_at: datetime
    rate_bytes_per_s: int
    stalled: str | None = Field(description="Why nothing moves; null while it does, and once done.")
    done: bool


def resize_view(service: BalloonService) -> ResizeView | None:
    """Show the newest resize; None before the first."""
    resize = service.resizing.current
    if resize is None:
        return None
    return ResizeView(
        id=resize.id,
        target_bytes=resize.target_frames * FRAME_BYTES,
        started_at=resize.started_at,
        rate_bytes_per_s=resize.rate_bytes_per_s(),
        stalled=stall_reason(service),
        done=resize.done,
    )
