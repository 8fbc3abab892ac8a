"""What the API takes and gives. OpenAPI is made from these models, so it cannot say anything else."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator

from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature

from ..balloon.statistics import Statistics
from ..config.models import FEATURE_NAMES
from ..service.balloon_service import BalloonService
from ..transport.features import offered_features
from .stalls import stall_reason


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True)


class TargetChange(_In):
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


class StatisticsChange(_In):
    """How often the guest is asked for statistics, in seconds; 0 asks no more."""

    interval_s: Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Features(_Out):
    """Feature bits by name."""

    offered: list[str]
    negotiated: list[str]


class ResizeView(_Out):
    """The newest resize of a balloon."""

    id: int
    target_bytes: int
    started_at: datetime
    rate_bytes_per_s: int
    stalled: str | None = Field(description="Why nothing moves; null while it does, and once done.")
    done: bool


class Balloon(_Out):
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


class BalloonList(_Out):
    """All balloons."""

    balloons: list[Balloon]


FrameStateName = Literal["free", "movable", "unmovable", "reclaimable", "huge", "isolated", "ballooned"]

NAMES: Final[Mapping[FrameState, FrameStateName]] = {
    FrameState.FREE: "free",
    FrameState.MOVABLE: "movable",
    FrameState.UNMOVABLE: "unmovable",
    FrameState.RECLAIMABLE: "reclaimable",
    FrameState.HUGE: "huge",
    FrameState.ISOLATED: "isolated",
    FrameState.BALLOONED: "ballooned",
}


class FrameRangeView(_Out):
    """``count`` frames from page frame number ``first`` on, all in one state."""

    first: int
    count: int
    state: FrameStateName = "ballooned"


class HintingStart(_In):
    """A round of free page hinting. The body may be left out."""

    acknowledge_on_stop: StrictBool = True


class HintingView(_Out):
    """The newest round of free page hinting. Nothing is given back for hints: they say how much memory is free."""

    name: str
    state: Literal["stopped", "requested", "running", "ended", "done"] = Field(
        description="ended: the driver has listed all, and keeps it free until the round is stopped."
    )
    command_id: int | None = Field(description="Of the round; null where there was none.")
    hinted_bytes: int
    started_at: datetime | None


class Frames(_Out):
    """The page-frame map as sorted, merged ranges."""

    name: str
    frame_bytes: int = FRAME_BYTES
    frames: int = Field(description="Frames in all regions of the guest's memory.")
    held_frames: int
    ranges: list[FrameRangeView]


class StatisticsView(_Out):
    """What the guest last said of its memory: a claim, with its age."""

    name: str
    interval_s: float
    arrived_at: datetime
    age_s: float
    statistics: dict[str, int]


class StatisticsInterval(_Out):
    """How often the guest is asked, from now on."""

    name: str
    interval_s: float


class Health(_Out):
    """The daemon is alive: ``pid`` serves and may be killed, no guest notices while ``keeper_pid`` lives."""

    pid: int
    keeper_pid: int | None


class Reloaded(_Out):
    """What following the configuration came to, a line for each thing done or not to be had."""

    done: list[str]


class Restarting(_Out):
    """Another process takes over from this one, and has another ``pid``."""

    pid: int


class Readiness(_Out):
    """Whether the daemon can do its work, and what is in the way."""

    ready: bool
    problems: list[str]


class Problem(_Out):
    """RFC 9457: what was wrong with a request."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str


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
        resize=_resize_view(service),
        counters=asdict(device.counters),
    )


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


def _resize_view(service: BalloonService) -> ResizeView | None:
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


def statistics_view(service: BalloonService, statistics: Statistics) -> StatisticsView:
    """Show what the guest said last."""
    return StatisticsView(
        name=service.settings.name,
        interval_s=service.statistics_interval_s,
        arrived_at=statistics.arrived_at,
        age_s=(service.clock.now() - statistics.arrived_at).total_seconds(),
        statistics={tag.name.lower(): value for tag, value in statistics.values.items()},
    )


def feature_names(features: int) -> list[str]:
    """Return the known feature bits by the names that the configuration uses."""
    return [name for name, bit in _FEATURE_BITS.items() if features & bit]


_FEATURE_BITS: Final[dict[str, int]] = {
    **FEATURE_NAMES,
    **{str(bit.name).lower().replace("_", "-"): bit for bit in RingFeature},
}
