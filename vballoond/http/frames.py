"""/v1/balloons/{name}/frames: the page-frame map, as ranges, as a bitmap, as a picture."""

import io
from typing import Final

from aiohttp import web
from PIL import Image

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.frame_map import FrameMap
from ..errors import OperatorError
from ..memory.frames import FrameRange
from ..offload import Offload
from .balloons import service_of
from .bodies import json_response
from .keys import OFFLOAD
from .models import FrameRangeView, Frames

STATES: Final = ("ballooned",)
FORMATS: Final = ("ranges", "bitmap", "png")
MAX_WIDTH: Final = 16384
DEFAULT_WIDTH: Final = 512
MAX_WINDOW_FRAMES: Final = {"png": 1 << 24, "bitmap": 1 << 29}
"""A pixel for each frame of 64 GiB: more would take seconds, and no screen shows it. A bit for each of 2 TiB."""

MAX_PFN: Final = 1 << 32
_INLINE_FRAMES: Final = 1 << 12  # a window of this size is read in a millisecond, however fragmented

# 0 the guest's, 1 ballooned, 2 no memory: light grey, blue, white.
_PALETTE: Final = (204, 204, 204, 31, 102, 178, 255, 255, 255)


async def show_frames(request: web.Request) -> web.Response:
    """A window of the map in the format that the query asks for."""
    service = service_of(request)
    frame_map = service.device.frame_map
    kind = _choice(request, "format", FORMATS)
    for state in request.query.get("state", "ballooned").split(","):
        if state not in STATES:
            raise _bad_query("state", state, f"a comma-separated list of {', '.join(STATES)}")
    width = _number(request, "width", DEFAULT_WIDTH, 1, MAX_WIDTH)
    window = _window(request, frame_map)
    _check_window(kind, window)
    offload = request.app[OFFLOAD] if window.count > _INLINE_FRAMES else Offload()
    if kind == "ranges":
        return await offload.run(_ranges, service.settings.name, frame_map, window)
    if kind == "bitmap":
        body = await offload.run(frame_map.bitmap, window)
        return _with_window(web.Response(body=body, content_type="application/octet-stream"), window)
    picture = await offload.run(draw, frame_map, window, width)
    return _with_window(web.Response(body=picture, content_type="image/png"), window)


def _ranges(name: str, frame_map: FrameMap, window: FrameRange) -> web.Response:
    held_frames = frame_map.held_frames
    ranges = [FrameRangeView(first=part.first, count=part.count) for part in frame_map.ranges(window)]
    return json_response(Frames(name=name, frames=frame_map.space.frames, held_frames=held_frames, ranges=ranges))


def _check_window(kind: str, window: FrameRange) -> None:
    most = MAX_WINDOW_FRAMES.get(kind)
    if most is not None and window.count > most:
        raise OperatorError(
            f"a {kind} of {window.count} frames is larger than {most}: choose a window by first and count",
            status=422,
            code="window-too-large",
            limit_bytes=most * FRAME_BYTES,
        )


def draw(frame_map: FrameMap, window: FrameRange, width: int) -> bytes:
    """Return ``window`` as a PNG, row by row, ``width`` frames in each; behind its end there is no memory."""
    pixels = frame_map.picture(window) or bytes([2])
    height = -(-len(pixels) // width)
    image = Image.frombytes("P", (width, height), pixels.ljust(width * height, bytes([2])))
    image.putpalette(_PALETTE)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


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
