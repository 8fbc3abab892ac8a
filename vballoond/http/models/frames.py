"""The page-frame map."""

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field

from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES

from .base import Out

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


class FrameRangeView(Out):
    """``count`` frames from page frame number ``first`` on, all in one state."""

    first: int
    count: int
    state: FrameStateName = "ballooned"


class Frames(Out):
    """The page-frame map as sorted, merged ranges."""

    name: str
    frame_bytes: int = FRAME_BYTES
    frames: int = Field(description="Frames in all regions of the guest's memory.")
    held_frames: int
    ranges: list[FrameRangeView]
