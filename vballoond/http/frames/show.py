"""A window of the page-frame map: as ranges, as a bitmap, as densities, as a picture.

Without ``state`` it is the balloon's map: what the rings said. Other states are what the guest says of its frames, and
only a modelled guest says anything: they are drawn over the same map.

Rules of this file:

* The balloon's map has a version, and its answers an ETag of the run of the daemon, the version and the query. Whoever
  still has that is told so before anything of the map is read. What the guest says has no version, and no ETag.
* The version is taken before the map is read, which may change meanwhile. So what is shown is of that version or newer,
  and what is newer is among the changes since that version.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import ETag, web

from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES

from ...balloon import frame_pictures
from ...balloon.densities import Cells, densities
from ...balloon.frame_blocks import BLOCK_FRAMES
from ...balloon.frame_map import FrameMap
from ...errors import OperatorError
from ...memory.frames import FrameRange
from ...offload import Offload
from ..balloons import service_of
from ..keys import OFFLOAD, RUN
from ..models.frames import Frames
from .drawing import draw_densities, draw_states
from .query import (
    BALLOONED,
    DEFAULT_WIDTH,
    FORMATS,
    MAX_WIDTH,
    SCALED_FORMATS,
    bad_query,
    choice,
    extent_of,
    optional_number,
    states_of,
)
from .ranges import ranges_json

MAX_CELLS: Final = {"png": 1 << 24, "density": 1 << 24, "bitmap": 1 << 29}
"""A pixel or a byte for each frame of 64 GiB: more would take seconds, and no screen shows it. A bit each, of 2 TiB."""

_MEDIA: Final = {
    "ranges": "application/json",
    "bitmap": "application/octet-stream",
    "density": "application/octet-stream",
    "png": "image/png",
}
_PIECE_FRAMES: Final = 1 << 20  # how much of a window is drawn at a time
_INLINE_CELLS: Final = 1 << 12  # a window of this size is read in a millisecond, however fragmented


async def show_frames(request: web.Request) -> web.Response:
    """A window of the map in the format that the query asks for."""
    service = service_of(request)
    view = _view(request)
    headers = view.headers(request.app[RUN])
    if _is_known(request, headers.get("ETag")):
        return web.Response(status=304, headers=headers)
    offload = request.app[OFFLOAD] if view.reads > _INLINE_CELLS else Offload()
    body = await offload.run(view.body, service.settings.name)
    return web.Response(body=body, content_type=_MEDIA[view.kind], headers=headers)


def _view(request: web.Request) -> "MapView":
    service = service_of(request)
    kind = choice(request, "format", FORMATS)
    states = states_of(request, service)
    width = optional_number(request, "width", 1, MAX_WIDTH) or DEFAULT_WIDTH
    frame_map = service.device.frame_map
    window, scale = extent_of(request).in_space(frame_map.space)
    _check_scale(request, kind, scale, states)
    view = MapView(frame_map, service.guest_view, kind, window, scale, states, width, frame_map.version)
    view.check_size()
    return view


def _check_scale(request: web.Request, kind: str, scale: int, states: frozenset[FrameState]) -> None:
    if kind not in SCALED_FORMATS and "scale" in request.query:
        raise bad_query("scale", request.query["scale"], f"nothing with format={kind}, only with png and density")
    if states != BALLOONED and (scale > 1 or kind == "density"):
        raise bad_query("state", request.query["state"], "'ballooned' with a scale above 1 and with format=density")


def _is_known(request: web.Request, etag: str | None) -> bool:
    asked: tuple[ETag, ...] = request.if_none_match or ()
    return etag is not None and any(known.value == "*" or f'"{known.value}"' == etag for known in asked)


@dataclass(frozen=True, slots=True)
class MapView:
    """A window of a map, as it was asked for, and the version that the map had then."""

    frame_map: FrameMap
    guest_view: frame_pictures.GuestView | None
    kind: str
    window: FrameRange
    scale: int
    states: frozenset[FrameState]
    width: int
    version: int

    @property
    def cells(self) -> Cells:
        """What pixels or bytes are of."""
        return Cells.over(self.window, self.scale)

    @property
    def shown(self) -> FrameRange:
        """The frames that are shown: those of whole cells, as far as there is memory."""
        cells = self.cells
        end = max(self.window.end, min(cells.end, self.frame_map.space.end))
        return FrameRange(cells.first, end - cells.first) if cells.count else self.window

    @property
    def reads(self) -> int:
        """How many things are looked at, blocks or frames."""
        cells = self.cells
        return max(cells.count, cells.count * cells.scale // (BLOCK_FRAMES if cells.scale >= BLOCK_FRAMES else 1))

    def check_size(self) -> None:
        """See that it is not larger than anybody could use.

        Raises:
            OperatorError: It is; 422.
        """
        most, cells = MAX_CELLS.get(self.kind), self.cells.count
        if most is not None and cells > most:
            other = "a larger scale, or a window" if self.kind in SCALED_FORMATS else "a window"
            raise OperatorError(
                f"a {self.kind} of {cells} frames or cells is larger than {most}: choose {other} by first and count",
                status=422,
                code="window-too-large",
                limit_bytes=most * self.scale * FRAME_BYTES,
            )

    def headers(self, run: str) -> dict[str, str]:
        """Return what is said of the answer."""
        shown = self.shown
        headers = {"X-Frame-Version": str(self.version), "Cache-Control": "no-store"}
        if self.kind != "ranges":
            headers |= {"X-First-Frame": str(shown.first), "X-Frame-Count": str(shown.count)}
        if self.kind in SCALED_FORMATS:
            headers["X-Frame-Scale"] = str(self.scale)
        if self.states == BALLOONED:
            width = f"-{self.width}" if self.kind == "png" else ""
            query = f"{self.kind}-{self.window.first}-{self.window.count}-{self.scale}{width}"
            headers |= {"ETag": f'"{run}-{self.version}-{query}"', "Cache-Control": "no-cache"}
        return headers

    def body(self, name: str) -> bytes:
        """Read the map; ``name`` is the balloon's.

        Raises:
            OperatorError: It has too many ranges; 422.
        """
        match self.kind:
            case "ranges":
                return self._ranges(name)
            case "bitmap":
                return self._bitmap()
            case "density":
                return densities(self.frame_map, self.cells).tobytes()
            case _:
                return self._drawing()

    def _ranges(self, name: str) -> bytes:
        frames = Frames(
            name=name,
            frames=self.frame_map.space.frames,
            held_frames=self.frame_map.held_frames,
            version=self.version,
            ranges=[],
        )
        return ranges_json(frames, self._parts())

    def _bitmap(self) -> bytes:
        if self.states == BALLOONED:
            return self.frame_map.bitmap(self.window)
        return b"".join(frame_pictures.bitmap(drawn, self.states) for _, drawn in self._pieces())

    def _drawing(self) -> bytes:
        if self.scale > 1:
            return draw_densities(densities(self.frame_map, self.cells).tobytes(), self.width)
        return draw_states(b"".join(drawn.tobytes() for _, drawn in self._pieces()), self.width, self.states)

    def _parts(self) -> Iterable[tuple[FrameRange, FrameState]]:
        """Return the runs of each state, ascending and merged."""
        if self.states == BALLOONED:
            return ((part, FrameState.BALLOONED) for part in self.frame_map.each_range(self.window))
        return frame_pictures.merged(
            part for first, drawn in self._pieces() for part in frame_pictures.ranges(drawn, first, self.states)
        )

    def _pieces(self) -> Iterator[tuple[int, frame_pictures.Picture]]:
        guest_view = self.guest_view if self.states != BALLOONED else None
        for first in range(self.window.first, self.window.end, _PIECE_FRAMES):
            piece = FrameRange(first, min(_PIECE_FRAMES, self.window.end - first))
            yield first, frame_pictures.picture(self.frame_map, guest_view, piece)
