"""A guest's frames as a picture: a tile for each pageblock, row by row, and in it a dot for each frame, row by row.

A huge page takes a whole pageblock: a tile of one colour is one, and a single other dot in a tile is why it is none.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from protocol.balloon.frame_states import FrameState

States: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"


@dataclass(frozen=True, slots=True)
class MapFigures:
    """What a picture shows, in numbers."""

    blocks: int
    huge: int
    """Pageblocks, all of which are one huge page."""
    balloon_in_last_quarter: float | None
    """Which share of the ballooned frames stands where compaction packs things; None where there are none."""


def states_of(packed: bytes) -> States:
    """Return the states of all frames, of which a ``RunResult`` keeps the compressed form."""
    return np.frombuffer(zlib.decompress(packed), dtype=np.uint8)


def map_figures(states: States, block_frames: int) -> MapFigures:
    """Count what is in a guest's frames."""
    blocks = _blocks(states, block_frames)
    huge = np.all(blocks == FrameState.HUGE, axis=1)
    ballooned = np.flatnonzero(states == FrameState.BALLOONED)
    in_last_quarter = float(np.mean(ballooned >= len(states) * 3 / 4)) if len(ballooned) else None
    return MapFigures(len(blocks), int(huge.sum()), in_last_quarter)


def mosaic(states: States, block_frames: int) -> States:
    """Lay all frames out as tiles, about as wide as high together; return the dots by row and column.

    What is no frame, between tiles and behind the last one, is ``FrameState.ABSENT``.
    """
    blocks = _blocks(states, block_frames)
    height = 1 << int(math.log2(block_frames)) // 2
    width = block_frames // height
    columns = max(1, round(math.sqrt(len(blocks) * height / width)))
    rows = -(-len(blocks) // columns)
    padded = np.full((rows * columns, block_frames), FrameState.ABSENT, dtype=np.uint8)
    padded[: len(blocks)] = blocks
    tiles = np.full((rows, columns, height + 1, width + 1), FrameState.ABSENT, dtype=np.uint8)
    tiles[:, :, :height, :width] = padded.reshape(rows, columns, height, width)
    return tiles.transpose(0, 2, 1, 3).reshape(rows * (height + 1), columns * (width + 1))


def _blocks(states: States, block_frames: int) -> States:
    """Return the states by pageblock; where the last one is not whole, frames that are none complete it."""
    missing = -len(states) % block_frames
    return np.pad(states, (0, missing), constant_values=FrameState.ABSENT).reshape(-1, block_frames)
