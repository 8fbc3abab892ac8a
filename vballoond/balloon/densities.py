"""How much of a map is held, a byte for each cell of so many frames: what an overview of a large guest is made of.

Rules of this file:

* Cells are ``scale`` page frame numbers, a power of two, and begin at multiples of it: whoever asks for whatever
  window, a cell has the same frames and so the same density.
* A density is 0 where nothing of a cell is held, 254 (:data:`ALL_HELD`) where all of its memory is, between them where
  some is, however little is missing, and 255 (:data:`NO_MEMORY`) where there is none.
* Cells of a block and more are summed up from what blocks hold, without a look at the map's bytes. Smaller ones are
  read from the bytes, a piece at a time: nothing as large as the map is ever made.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ..memory.frames import FrameRange, FrameSpace
from .frame_blocks import BLOCK_FRAMES
from .frame_map import FrameMap

ALL_HELD: Final = 254
NO_MEMORY: Final = 255
MAX_SCALE: Final = 1 << 22
"""Frames in a cell; 16 TiB, all that page frame numbers name, are 1024 of them."""

AUTO_CELLS: Final = 1 << 20

_PIECE_FRAMES: Final = 1 << 20  # how much of a map's bytes is looked at at a time

Densities: TypeAlias = npt.NDArray[np.uint8]
_Counts: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Cells:
    """``count`` cells of ``scale`` frames, from frame ``first`` on, which is a multiple of ``scale``."""

    first: int
    count: int
    scale: int

    @classmethod
    def over(cls, window: FrameRange, scale: int) -> "Cells":
        """Return the cells that have frames of ``window``."""
        first = window.first // scale * scale
        return cls(first, -(-(window.end - first) // scale) if window.count else 0, scale)

    @property
    def end(self) -> int:
        """The page frame number behind the last cell."""
        return self.first + self.count * self.scale


def auto_scale(window: FrameRange) -> int:
    """Return the smallest scale at which ``window`` has at most :data:`AUTO_CELLS` cells, or the largest there is."""
    scale = 1
    while scale < MAX_SCALE and Cells.over(window, scale).count > AUTO_CELLS:
        scale *= 2
    return scale


def densities(frame_map: FrameMap, cells: Cells) -> Densities:
    """Return the density of each cell."""
    held = _held_of_blocks(frame_map, cells) if cells.scale >= BLOCK_FRAMES else _held_of_bytes(frame_map, cells)
    there = _there(frame_map.space, cells)
    shown = np.where(held > 0, np.uint8(ALL_HELD), np.uint8(0))
    some = np.flatnonzero((held > 0) & (held < there))
    shown[some] = 1 + held[some] * (ALL_HELD - 1) // there[some]
    shown[there == 0] = NO_MEMORY
    return shown


def _there(space: FrameSpace, cells: Cells) -> _Counts:
    """Return how many frames of memory there are in each cell."""
    there = np.zeros(cells.count, dtype=np.int32)
    for span, _ in space.pieces(FrameRange(cells.first, cells.end - cells.first)):
        first, last = (span.first - cells.first) // cells.scale, (span.end - 1 - cells.first) // cells.scale
        there[first : last + 1] += cells.scale
        there[first] -= (span.first - cells.first) % cells.scale
        there[last] -= -(span.end - cells.first) % cells.scale
    return there


def _held_of_blocks(frame_map: FrameMap, cells: Cells) -> _Counts:
    of_each = cells.scale // BLOCK_FRAMES
    held = frame_map.blocks.held[cells.first // BLOCK_FRAMES : cells.end // BLOCK_FRAMES]
    if of_each == 1 and held.size == cells.count:
        return held.astype(np.int32)
    sums = np.zeros(cells.count, dtype=np.int32)
    whole = held.size // of_each
    sums[:whole] = held[: whole * of_each].reshape(-1, of_each).sum(axis=1, dtype=np.int32)
    if whole < cells.count:  # memory ends within a cell
        sums[whole] = held[whole * of_each :].sum(dtype=np.int32)
    return sums


def _held_of_bytes(frame_map: FrameMap, cells: Cells) -> _Counts:
    sums = np.zeros(cells.count, dtype=np.int32)
    for first in range(cells.first, cells.end, _PIECE_FRAMES):
        piece = FrameRange(first, min(_PIECE_FRAMES, cells.end - first))
        held = frame_map.held_bytes(piece)
        if held is not None:
            at = (first - cells.first) // cells.scale
            sums[at : at + piece.count // cells.scale] = _summed(held, cells.scale)
    return sums


def _summed(held: Densities, scale: int) -> Densities:
    """Return how many of each ``scale`` bytes, fewer than a block, are 1; by bits from eight on: ten times as fast."""
    if scale < 8:
        counted = held[0::scale].copy()
        for at in range(1, scale):
            counted += held[at::scale]
        return counted
    bits: Densities = np.bitwise_count(np.packbits(held).view(f"u{min(scale, 64) // 8}"))
    return bits if scale <= 64 else bits.reshape(-1, scale // 64).sum(axis=1, dtype=np.uint8)
