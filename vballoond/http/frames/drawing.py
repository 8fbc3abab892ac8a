"""Frame maps as pictures: a palette image, row by row, which Pillow writes as PNG."""

import io
from typing import Final

from PIL import Image

from protocol.balloon.frame_states import FrameState

from ...balloon.densities import ALL_HELD, NO_MEMORY

Colour = tuple[int, int, int]

_COLOURS: Final[dict[FrameState, Colour]] = {
    FrameState.FREE: (240, 240, 240),
    FrameState.MOVABLE: (153, 204, 153),
    FrameState.UNMOVABLE: (170, 68, 68),
    FrameState.RECLAIMABLE: (221, 170, 51),
    FrameState.HUGE: (51, 119, 85),
    FrameState.ISOLATED: (204, 51, 204),
    FrameState.BALLOONED: (31, 102, 178),
    FrameState.ABSENT: (255, 255, 255),
}
_OTHER: Final[Colour] = (204, 204, 204)  # of frames in a state that was not asked for
_LEVEL: Final = 3  # of compression: half the time of Pillow's own choice, for a few percent more bytes


def _mixed(share: int) -> Colour:
    """Return the colour of a cell of which ``share`` is held."""
    held = _COLOURS[FrameState.BALLOONED]
    red, green, blue = (_OTHER[at] + (held[at] - _OTHER[at]) * share // ALL_HELD for at in range(3))
    return red, green, blue


_SHARES: Final = [_mixed(share) for share in range(ALL_HELD + 1)] + [_COLOURS[FrameState.ABSENT]]


def draw_states(pixels: bytes, width: int, states: frozenset[FrameState]) -> bytes:
    """Return frames, a byte with its state for each, as a PNG; states that are not in ``states`` look alike."""
    shown = states | {FrameState.ABSENT}
    palette = [_COLOURS[state] if state in shown else _OTHER for state in FrameState]
    return _draw(pixels, width, FrameState.ABSENT, palette)


def draw_densities(pixels: bytes, width: int) -> bytes:
    """Return cells, a byte with its density for each, as a PNG, the bluer the more of one is held."""
    return _draw(pixels, width, NO_MEMORY, _SHARES)


def _draw(pixels: bytes, width: int, absent: int, palette: list[Colour]) -> bytes:
    """Draw ``width`` pixels in each row; behind the last one there is no memory."""
    height = max(1, -(-len(pixels) // width))
    image = Image.frombytes("P", (width, height), pixels.ljust(width * height, bytes([absent])))
    image.putpalette([part for colour in palette for part in colour])
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_LEVEL)
    return file.getvalue()
