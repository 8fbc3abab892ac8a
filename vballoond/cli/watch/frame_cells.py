"""The frame map as ``watch`` shows it: one byte for each cell, of as many frames as the terminal needs.

Rules of this file: whatever the daemon sends, nothing outside the picture is touched.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..client import Client, balloon_path

_HELD: Final = 254
_MAX_SCALE: Final = 1 << 32


@dataclass(slots=True)
class FrameCells:
    """Densities from frame ``first`` on: 0 none held to 254 all held, 255 no memory there.

    Attributes:
        frames: How many frames the picture spans, holes included.
        scale: Frames in a cell, a power of two.
        version: Of the map, behind which changes are to be followed.
        migrated: Balloon pages that have moved so far; 0 until it is told.
    """

    first: int
    frames: int
    scale: int
    version: str
    cells: bytearray = field(default_factory=bytearray)
    migrated: int = 0

    def change(self, data: Mapping[str, Any]) -> None:
        """Take in what changed.

        Raises:
            ValueError, TypeError, KeyError: It is no change of a map in this scale.
        """
        if data["scale"] != self.scale:
            raise ValueError(f"changes in a scale of {data['scale']}, not {self.scale}")
        for part in data.get("ranges", ()):
            self._paint(part["first"], bytes([_HELD if part["ballooned"] else 0]) * self._cut(part["count"]))
        for first, densities in data.get("cells", ()):
            self._paint(first, base64.b64decode(densities, validate=True))

    def _cut(self, count: int) -> int:
        return min(max(count, 0), len(self.cells))

    def _paint(self, first_frame: int, densities: bytes) -> None:
        begin = (first_frame - self.first) // self.scale
        densities = densities[max(-begin, 0) : max(len(self.cells) - begin, 0)]
        begin = max(begin, 0)
        self.cells[begin : begin + len(densities)] = densities


def scale_for(frames: int, capacity: int) -> int:
    """Return the smallest scale in which so many frames need no more than ``capacity`` cells."""
    scale = 1
    while -(-frames // scale) > max(capacity, 1):
        scale *= 2
    return scale


def read_frame_cells(client: Client, name: str, frames: int, capacity: int) -> FrameCells:
    """Read the map in as many cells as fit, where the guest is believed to have so many ``frames``.

    Raises:
        ClientError: It cannot be had.
    """
    cells = _read(client, name, scale_for(frames, capacity))
    # Holes in the guest's memory are in the picture and not in its size.
    fitting = scale_for(cells.frames, capacity)
    return cells if fitting == cells.scale else _read(client, name, fitting)


def _read(client: Client, name: str, scale: int) -> FrameCells:
    answer = client.get(balloon_path(name, f"/frames?format=density&scale={min(scale, _MAX_SCALE)}"))
    return FrameCells(
        first=answer.number("X-First-Frame"),
        frames=answer.number("X-Frame-Count"),
        scale=answer.number("X-Frame-Scale"),
        version=answer.headers.get("x-frame-version", ""),
        cells=bytearray(answer.body),
    )
