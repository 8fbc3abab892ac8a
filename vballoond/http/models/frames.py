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
    """Page frame number: the guest's address, shifted right by 12."""

    count: int
    """Frames."""

    state: FrameStateName = "ballooned"
    """Of all of them."""


class Frames(Out):
    """The page-frame map as sorted, merged ranges."""

    name: str
    """The balloon."""

    frame_bytes: int = FRAME_BYTES
    """Of one frame."""

    frames: int = Field(description="Frames in all regions of the guest's memory.")
    held_frames: int
    """Frames inflated and not yet deflated, of the whole memory."""

    version: int = Field(description="Of the map that is shown: what its stream of changes takes as `since`.")
    ranges: list[FrameRangeView]
    """Sorted; neighbours of one state are merged."""
