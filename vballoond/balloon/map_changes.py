"""What changed in a map since a version, as what is there now, in pieces of bounded size.

Rules of this file:

* What is told is never a difference: it is what cells, or at scale 1 frames, hold now. Told twice it does no harm, so
  what lies between two changes that are near each other may be told with them.
* A piece says up to which version the map is known to whoever has it and all pieces before it. Before the last one that
  is still the version that was asked for: whoever is cut off in between asks for it again.
* At most :data:`MOST_CELLS` cells are in a piece, or :data:`CHUNK_CELLS` where cells are frames, each of which may be a
  range of its own. Maps are looked at in chunks of as many.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ..memory.frames import FrameRange, IndexArray
from .densities import Cells, Densities, densities
from .frame_blocks import BLOCK_FRAMES
from .frame_map import FrameMap

CHUNK_CELLS: Final = 1 << 14
MOST_CELLS: Final = 1 << 16

_NEAR_CELLS: Final = 16  # to tell of as many cells between two changes takes as long as to begin anew


@dataclass(frozen=True, slots=True)
class ChangedCells:
    """What cells hold now, one behind the other from frame ``first`` on."""

    first: int
    densities: Densities


@dataclass(slots=True)
class ChangePiece:
    """A piece of what changed; ``version`` is that up to which the map is known with it."""

    version: int
    runs: list[ChangedCells] = field(default_factory=list)
    cells: int = 0

    def add(self, run: ChangedCells) -> None:
        """Have ``run`` in it too."""
        self.runs.append(run)
        self.cells += run.densities.size


def changes_since(frame_map: FrameMap, since: int, now: int, window: FrameRange, scale: int) -> Iterator[ChangePiece]:
    """Yield what changed in the cells of ``window`` after ``since``, ascending; at least one piece, perhaps empty.

    Args:
        frame_map: The map.
        since: A version of it, from ``born`` on.
        now: Its version. What changes after it may be told here, and is told again by who asks from ``now`` on.
        window: Of which frames.
        scale: Of how many frames cells are.
    """
    most = MOST_CELLS if scale > 1 else CHUNK_CELLS
    piece = ChangePiece(since)
    for run in _runs(frame_map, since, Cells.over(window, scale)):
        if piece.cells + run.densities.size > most:
            yield piece
            piece = ChangePiece(since)
        piece.add(run)
    piece.version = now
    yield piece


def _runs(frame_map: FrameMap, since: int, cells: Cells) -> Iterator[ChangedCells]:
    unit = max(cells.scale, BLOCK_FRAMES)
    blocks = frame_map.blocks.changed_since(since, cells.first, cells.end)
    units = np.unique(blocks // (unit // BLOCK_FRAMES))
    for chunk in _split(units, units // (CHUNK_CELLS * cells.scale // unit)):
        first, end = _window(chunk, unit, cells)
        drawn = densities(frame_map, Cells(first, (end - first) // cells.scale, cells.scale))
        for run in _split(chunk, np.cumsum(np.diff(chunk, prepend=chunk[:1]) > 1 + _NEAR_CELLS * cells.scale // unit)):
            at, behind = _window(run, unit, cells)
            yield ChangedCells(at, drawn[(at - first) // cells.scale : (behind - first) // cells.scale])


def _split(units: IndexArray, by: IndexArray) -> Iterator[IndexArray]:
    """Yield ``units`` cut wherever ``by`` changes."""
    if units.size:
        yield from np.split(units, np.flatnonzero(np.diff(by)) + 1)


def _window(units: IndexArray, unit: int, cells: Cells) -> tuple[int, int]:
    """Return the first frame of ``units`` and that behind them, as far as ``cells`` go."""
    return max(cells.first, int(units[0]) * unit), min(cells.end, (int(units[-1]) + 1) * unit)
