"""A balloon, and the size that it is to have."""

from dataclasses import asdict
from typing import Final, Literal, Self

from pydantic import Field, StrictInt, model_validator

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature

from ...config.models import FEATURE_NAMES
from ...service.balloon_service import BalloonService
from ...transport.features import offered_features
from .base import In, Out
from .resize import ResizeView, resize_view


class TargetChange(In):
    """The size that a balloon is to have, which is the guest's loss: one of the two fields."""

    target_mib: StrictInt | None = None
    target_bytes: StrictInt | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.target_mib is None) == (self.target_bytes is None):
            raise ValueError("give exactly one of target_mib and target_bytes")
        return self

    @property
    def in_bytes(self) -> int:
        """The target in bytes."""
        return self.target_bytes if self.target_bytes is not None else (self.target_mib or 0) << 20


class Features(Out):
    """Feature bits by name."""

    offered: list[str]
    negotiated: list[str]


class Balloon(Out):
    """One balloon. Sizes are in bytes, frames have 4096."""

    name: str
    transport: Literal["in-process", "vhost-user"]
    state: Literal["waiting", "running", "paused", "broken"]
    reason: str | None = Field(description="Why the balloon is broken; null when it is not.")
    memory_bytes: int | None = Field(description="The guest's memory; null while unknown.")
    target_bytes: int
    actual_bytes: int = Field(description="What the driver last wrote to 'actual'.")
    held_frames: int = Field(description="Frames inflated and not yet deflated, by the requests that were served.")
    resident_bytes: int | None = Field(
        description="What the guest's memory takes of the host, by the kernel's account."
    )
    reclaimed_bytes: int = Field(description="Running total of what giving frames back has freed, by the same account.")
    features: Features
    resize: ResizeView | None
    counters: dict[str, int]


class BalloonList(Out):
    """All balloons."""

    balloons: list[Balloon]


def balloon_view(service: BalloonService) -> Balloon:
    """Show a balloon as it is now."""
    device = service.device
    known = bool(service.memory.regions)
    return Balloon(
        name=service.settings.name,
        transport=service.settings.transport,
        state=service.state_name,
        reason=service.broken_reason,
        memory_bytes=service.memory.size_bytes if known else None,
        target_bytes=service.target_frames * FRAME_BYTES,
        actual_bytes=service.actual_frames * FRAME_BYTES,
        held_frames=device.frame_map.held_frames,
        resident_bytes=service.memory.resident_bytes() if known else None,
        reclaimed_bytes=service.releasing.reclaimed_bytes,
        features=Features(
            offered=feature_names(offered_features(service.settings)),
            negotiated=feature_names(service.negotiated_features),
        ),
        resize=resize_view(service),
        counters=asdict(device.counters),
    )


def feature_names(features: int) -> list[str]:
    """Return the known feature bits by the names that the configuration uses."""
    return [name for name, bit in _FEATURE_BITS.items() if features & bit]


_FEATURE_BITS: Final[dict[str, int]] = {
    **FEATURE_NAMES,
    **{str(bit.name).lower().replace("_", "-"): bit for bit in RingFeature},
}
