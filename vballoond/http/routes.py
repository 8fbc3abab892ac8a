"""The table of the API: methods, paths, handlers, and what goes in and out.

The application is built from it, and so is the OpenAPI document, which therefore says what is true.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from protocol.balloon.frame_states import FRAME_STATES

from . import balloons, frames, health, hinting, lifecycle, metrics, page
from .models.balloon import Balloon, BalloonList, TargetChange
from .models.frames import Frames
from .models.hinting import HintingStart, HintingView
from .models.lifecycle import Health, Readiness, Reloaded, Restarting
from .models.statistics import StatisticsChange, StatisticsInterval, StatisticsView
from .problems import Handler


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or header parameter, with its JSON schema."""

    name: str
    schema: dict[str, Any]
    description: str
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    ``answers`` are the statuses that bring ``model``; ``problems`` those that bring a problem report, besides what the
    guards answer on every path. ``media`` are further content types of a 200.
    """

    method: str
    path: str
    handler: Handler
    model: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True
    answers: tuple[int, ...] = (200,)
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    media: tuple[str, ...] = field(default=())


_BALLOON: Final = "/v1/balloons/{name}"
_BODY_PROBLEMS: Final = (400, 404, 413, 415, 422)

_WAIT: Final = Parameter(
    "Prefer", {"type": "string", "pattern": r"^wait=\d+$"}, "wait=S: answer once reached, or after S seconds.", "header"
)
_WINDOW: Final = (
    Parameter("format", {"type": "string", "enum": list(frames.FORMATS)}, "ranges is the default."),
    Parameter(
        "first", {"type": "integer", "minimum": 0, "maximum": frames.MAX_PFN - 1}, "First frame; the lowest by default."
    ),
    Parameter(
        "count",
        {"type": "integer", "minimum": 0, "maximum": frames.MAX_PFN},
        "Frames; to the end of memory by default, where any window is cut off.",
    ),
    Parameter(
        "state",
        {"type": "string", "default": "ballooned"},
        f"Comma-separated states to show, of {', '.join(FRAME_STATES)}; all but ballooned for in-process guests only.",
    ),
    Parameter(
        "width",
        {"type": "integer", "minimum": 1, "maximum": frames.MAX_WIDTH},
        f"Frames in a row of the png; {frames.DEFAULT_WIDTH} by default.",
    ),
)

ROUTES: Final = (
    Route("GET", "/v1/balloons", balloons.list_balloons, BalloonList),
    Route("GET", _BALLOON, balloons.show_balloon, Balloon, problems=(404,)),
    Route(
        "PATCH",
        _BALLOON,
        balloons.set_target,
        Balloon,
        TargetChange,
        answers=(200, 202),
        problems=(*_BODY_PROBLEMS, 409),
        parameters=(_WAIT,),
    ),
    Route(
        "GET",
        f"{_BALLOON}/frames",
        frames.show_frames,
        Frames,
        problems=(400, 404, 422),
        parameters=_WINDOW,
        media=("application/octet-stream", "image/png"),
    ),
    Route("GET", f"{_BALLOON}/statistics", balloons.show_statistics, StatisticsView, problems=(404, 503)),
    Route(
        "PATCH",
        f"{_BALLOON}/statistics",
        balloons.set_statistics_interval,
        StatisticsInterval,
        StatisticsChange,
        problems=_BODY_PROBLEMS,
    ),
    Route(
        "POST",
        f"{_BALLOON}/hinting",
        hinting.start_hinting,
        HintingView,
        HintingStart,
        body_required=False,
        answers=(202,),
        problems=(400, 404, 413, 415, 503),
    ),
    Route("GET", f"{_BALLOON}/hinting", hinting.show_hinting, HintingView, problems=(404, 503)),
    Route("DELETE", f"{_BALLOON}/hinting", hinting.stop_hinting, HintingView, problems=(404, 503)),
    Route("POST", "/v1/reload", lifecycle.reload, Reloaded, problems=(422,)),
    Route("POST", "/v1/restart", lifecycle.restart, Restarting, answers=(202,), problems=(409,)),
    Route("GET", "/healthz", health.healthz, Health),
    Route("GET", "/readyz", health.readyz, Readiness, answers=(200, 503)),
    Route("GET", "/metrics", metrics.show_metrics, media=("application/openmetrics-text", "text/plain")),
    Route("GET", "/", page.show_links, media=("text/html",)),
)
