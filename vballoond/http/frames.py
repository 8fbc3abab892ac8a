"""/v1/balloons/{name}/frames: the page-frame map, as ranges, as a bitmap, as a picture.

Without ``state`` it is the balloon's map: what the rings said. Other states are what the guest says of its frames, and
only a modelled guest says anything: they are drawn over the same map.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from PIL import Image

from protocol.balloon.frame_states import FRAME_STATES, FrameState
from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon import frame_pictures
from ..balloon.frame_map import FrameMap
from ..errors import OperatorError
from ..memory.frames import FrameRange
from ..offload import Offload
from ..service.balloon_service import BalloonService
from .balloons import service_of
from .bodies import json_response
from .keys import OFFLOAD
from .models.frames import NAMES, FrameRangeView, Frames

FORMATS: Final = ("ranges", "bitmap", "png")
MAX_WIDTH: Final = 16384
DEFAULT_WIDTH: Final = 512
MAX_WINDOW_FRAMES: Final = {"png": 1 << 24, "bitmap": 1 << 29}
"""A pixel for each frame of 64 GiB: more would take seconds, and no screen shows it. A bit for each of 2 TiB."""

MAX_PFN: Final = 1 << 32
_PIECE_FRAMES: Final = 1 << 20  # how much of a window is drawn at a time
_INLINE_FRAMES: Final = 1 << 12  # a window of this size is read in a millisecond, however fragmented

_BALLOONED: Final = frozenset({FrameState.BALLOONED})

_COLOURS: Final = {
    FrameState.FREE: (240, 240, 240),
    FrameState.MOVABLE: (153, 204, 153),
    FrameState.UNMOVABLE: (170, 68, 68),
    FrameState.RECLAIMABLE: (221, 170, 51),
    FrameState.HUGE: (51, 119, 85),
    FrameState.ISOLATED: (204, 51, 204),
    FrameState.BALLOONED: (31, 102, 178),
    FrameState.ABSENT: (255, 255, 255),
}
_OTHER: Final = (204, 204, 204)  # of frames in a state that was not asked for


async def show_frames(request: web.Request) -> web.Response:
    """A window of the map in the format that the query asks for."""
    service = service_of(request)
    kind = _choice(request, "format", FORMATS)
    states = _states(request, service)
    width = _number(request, "width", DEFAULT_WIDTH, 1, MAX_WIDTH)
    window = _window(request, service.device.frame_map)
    _check_window(kind, window)
    view = MapView(service.settings.name, service.device.frame_map, service.guest_view, window, states)
    offload = request.app[OFFLOAD] if window.count > _INLINE_FRAMES else Offload()
    if kind == "ranges":
        return await offload.run(view.ranges)
    if kind == "bitmap":
        body = await offload.run(view.bitmap)
        return _with_window(web.Response(body=body, content_type="application/octet-stream"), window)
    drawing = await offload.run(view.draw, width)
    return _with_window(web.Response(body=drawing, content_type="image/png"), window)


@dataclass(frozen=True, slots=True)
class MapView:
    """A window of a map, in the states that were asked for."""

    name: str
    frame_map: FrameMap
    guest_view: frame_pictures.GuestView | None
    window: FrameRange
    states: frozenset[FrameState]

    def ranges(self) -> web.Response:
        """Return the ranges as JSON."""
        held_frames = self.frame_map.held_frames
        ranges = [
            FrameRangeView(first=part.first, count=part.count, state=NAMES[state]) for part, state in self._parts()
        ]
        return json_response(
            Frames(name=self.name, frames=self.frame_map.space.frames, held_frames=held_frames, ranges=ranges)
        )

    def bitmap(self) -> bytes:
        """Return the frames in one of the states as bits."""
        if self.states == _BALLOONED:
            return self.frame_map.bitmap(self.window)
        return b"".join(frame_pictures.bitmap(drawn, self.states) for _, drawn in self._pieces())

    def draw(self, width: int) -> bytes:
        """Return the window as a PNG, row by row, ``width`` frames in each; behind its end there is no memory."""
        pixels = b"".join(drawn.tobytes() for _, drawn in self._pieces()) or bytes([FrameState.ABSENT])
        height = -(-len(pixels) // width)
        image = Image.frombytes("P", (width, height), pixels.ljust(width * height, bytes([FrameState.ABSENT])))
        shown = self.states | {FrameState.ABSENT}
        image.putpalette([part for state in FrameState for part in (_COLOURS[state] if state in shown else _OTHER)])
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    def _parts(self) -> Iterable[tuple[FrameRange, FrameState]]:
        """Return the runs of each state, ascending and merged."""
        if self.states == _BALLOONED:
            return ((part, FrameState.BALLOONED) for part in self.frame_map.ranges(self.window))
        return frame_pictures.merged(
            part for first, drawn in self._pieces() for part in frame_pictures.ranges(drawn, first, self.states)
        )

    def _pieces(self) -> Iterator[tuple[int, frame_pictures.Picture]]:
        guest_view = self.guest_view if self.states != _BALLOONED else None
        for first in range(self.window.first, self.window.end, _PIECE_FRAMES):
            piece = FrameRange(first, min(_PIECE_FRAMES, self.window.end - first))
            yield first, frame_pictures.picture(self.frame_map, guest_view, piece)


def _states(request: web.Request, service: BalloonService) -> frozenset[FrameState]:
    text = request.query.get("state", "ballooned")
    names = text.split(",")
    if any(name not in FRAME_STATES for name in names):
        raise _bad_query("state", text, f"a comma-separated list of {', '.join(FRAME_STATES)}")
    states = frozenset(FRAME_STATES[name] for name in names)
    if states != _BALLOONED and service.guest_view is None:
        raise _bad_query("state", text, "'ballooned': what else a frame is, only an in-process guest tells")
    return states


def _check_window(kind: str, window: FrameRange) -> None:
    most = MAX_WINDOW_FRAMES.get(kind)
    if most is not None and window.count > most:
        raise OperatorError(
            f"a {kind} of {window.count} frames is larger than {most}: choose a window by first and count",
            status=422,
            code="window-too-large",
            limit_bytes=most * FRAME_BYTES,
        )


def _window(request: web.Request, frame_map: FrameMap) -> FrameRange:
    """The frames that the query asks for, cut off at the end of the guest's memory."""
    space = frame_map.space
    first = _number(request, "first", space.first, 0, MAX_PFN - 1)
    rest = max(0, space.end - first)
    return FrameRange(first, min(rest, _number(request, "count", rest, 0, MAX_PFN)))


def _with_window(answer: web.Response, window: FrameRange) -> web.Response:
    answer.headers["X-First-Frame"] = str(window.first)
    answer.headers["X-Frame-Count"] = str(window.count)
    return answer


def _choice(request: web.Request, name: str, choices: tuple[str, ...]) -> str:
    value = request.query.get(name, choices[0])
    if value not in choices:
        raise _bad_query(name, value, f"one of {', '.join(choices)}")
    return value


def _number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise _bad_query(name, text, f"a whole number from {least} to {most}")
    return int(text)


def _bad_query(name: str, value: str, right: str) -> OperatorError:
    return OperatorError(f"query {name}={value!r}: it takes {right}", code="bad-query")
