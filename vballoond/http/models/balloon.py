"""A balloon, and the size that it is to have."""

from dataclasses import asdict
from typing import Literal

from pydantic import Field

from protocol.balloon.page_frames import FRAME_BYTES

from ...config.feature_names import feature_names
from ...service.balloon_service import BalloonService
from ...transport.features import offered_features
from .base import Out
from .resize import ResizeView, resize_view


class Features(Out):
    """Feature bits by name."""

    offered: list[str]
    """What the daemon offers."""

    negotiated: list[str]
    """What the driver has accepted; empty where none is there."""


class Balloon(Out):
    """One balloon. Sizes are in bytes, frames have 4096."""

    name: str
    """By which paths name it."""

    transport: Literal["in-process", "vhost-user"]
    """How its guest is reached."""

    state: Literal["waiting", "running", "paused", "broken"]
    """waiting: no driver has connected. paused: its queues were stopped. broken: it broke a rule."""

    reason: str | None = Field(description="Why the balloon is broken; null when it is not.")
    memory_bytes: int | None = Field(description="The guest's memory; null while unknown.")
    min_bytes: int = Field(description="The least that may be its target.")
    max_bytes: int | None = Field(description="The most that may be its target; null while no bound is known.")
    target_bytes: int
    """What the balloon is to hold."""

    actual_bytes: int = Field(description="What the driver last wrote to 'actual'.")
    held_frames: int = Field(description="Frames inflated and not yet deflated, by the requests that were served.")
    resident_bytes: int | None = Field(
        description="What the guest's memory takes of the host, by the kernel's account."
    )
    reclaimed_bytes: int = Field(description="Running total of what giving frames back has freed, by the same account.")
    features: Features
    """Feature bits by their names."""

    resize: ResizeView | None = Field(description="The newest; null before the first.")
    counters: dict[str, int]
    """Running totals since the daemon started."""


class BalloonList(Out):
    """All balloons."""

    balloons: list[Balloon]
    """In the order in which they were added."""


def balloon_view(service: BalloonService) -> Balloon:
    """Show a balloon as it is now."""
    device = service.device
    known = bool(service.memory.regions)
    bounded = known or service.settings.memory is not None or service.settings.max is not None
    current = service.resizing.current
    return Balloon(
        name=service.settings.name,
        transport=service.settings.transport,
        state=service.state_name,
        reason=service.broken_reason,
        memory_bytes=service.memory.size_bytes if known else None,
        min_bytes=service.settings.min,
        max_bytes=service.limit_bytes() if bounded else None,
        target_bytes=service.target_frames * FRAME_BYTES,
        actual_bytes=service.actual_frames * FRAME_BYTES,
        held_frames=device.frame_map.held_frames,
        resident_bytes=service.memory.resident_bytes() if known else None,
        reclaimed_bytes=service.releasing.reclaimed_bytes,
        features=Features(
            offered=feature_names(offered_features(service.settings)),
            negotiated=feature_names(service.negotiated_features),
        ),
        resize=resize_view(service, current) if current else None,
        counters=asdict(device.counters),
    )
