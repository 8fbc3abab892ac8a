"""What of a frame map is asked for: a window, states, a scale."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from protocol.balloon.frame_states import FRAME_STATES, FrameState

from ...balloon.densities import MAX_SCALE, auto_scale
from ...errors import OperatorError
from ...memory.frames import FrameRange, FrameSpace
from ...service.balloon_service import BalloonService

FORMATS: Final = ("ranges", "bitmap", "png", "density")
SCALED_FORMATS: Final = ("png", "density")
MAX_WIDTH: Final = 16384
DEFAULT_WIDTH: Final = 512
MAX_PFN: Final = 1 << 32
AUTO: Final = "auto"

BALLOONED: Final = frozenset({FrameState.BALLOONED})


@dataclass(frozen=True, slots=True)
class Extent:
    """A window and a scale as they were asked for; what they come to depends on the memory that there is.

    Attributes:
        first: The first frame; None: the lowest.
        count: How many frames; None: up to the end of memory, where any window is cut off.
        scale: Frames to a cell; None: as many as :func:`auto_scale` says.
    """

    first: int | None
    count: int | None
    scale: int | None

    def in_space(self, space: FrameSpace) -> tuple[FrameRange, int]:
        """Return the window and the scale for a memory."""
        first = space.first if self.first is None else self.first
        rest = max(0, space.end - first)
        window = FrameRange(first, rest if self.count is None else min(rest, self.count))
        return window, self.scale or auto_scale(window)


def extent_of(request: web.Request) -> Extent:
    """Return the window and the scale that a query asks for.

    Raises:
        OperatorError: A value is none that it takes; 400.
    """
    return Extent(
        optional_number(request, "first", 0, MAX_PFN - 1),
        optional_number(request, "count", 0, MAX_PFN),
        _scale(request),
    )


def _scale(request: web.Request) -> int | None:
    text = request.query.get("scale", "1")
    if text == AUTO:
        return None
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SCALE)):
        scale = int(text)
        if 1 <= scale <= MAX_SCALE and scale & (scale - 1) == 0:
            return scale
    raise bad_query("scale", text, f"{AUTO!r} or a power of two from 1 to {MAX_SCALE}")


def states_of(request: web.Request, service: BalloonService) -> frozenset[FrameState]:
    """Return the states that are asked for.

    Raises:
        OperatorError: There is no such state, or this guest tells of none but ballooned; 400.
    """
    text = request.query.get("state", "ballooned")
    names = text.split(",")
    if any(name not in FRAME_STATES for name in names):
        raise bad_query("state", text, f"a comma-separated list of {', '.join(FRAME_STATES)}")
    states = frozenset(FRAME_STATES[name] for name in names)
    if states != BALLOONED and service.guest_view is None:
        raise bad_query("state", text, "'ballooned': what else a frame is, only an in-process guest tells")
    return states


def choice(request: web.Request, name: str, choices: tuple[str, ...]) -> str:
    """Return which of ``choices`` is asked for; the first one by default."""
    value = request.query.get(name, choices[0])
    if value not in choices:
        raise bad_query(name, value, f"one of {', '.join(choices)}")
    return value


def optional_number(request: web.Request, name: str, least: int, most: int) -> int | None:
    """Return a number of the query; None where it is left out."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise bad_query(name, text, f"a whole number from {least} to {most}")
    return int(text)


def bad_query(name: str, value: str, right: str) -> OperatorError:
    """Return the error of a query that has ``value``, where ``right`` would be right."""
    return OperatorError(f"query {name}={value!r}: it takes {right}", code="bad-query")
