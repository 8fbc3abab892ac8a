"""The table of the API: methods, paths, handlers, and what goes in and out.

The application is built from it, and so is the OpenAPI document, which therefore says what is true.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from protocol.balloon.frame_states import FRAME_STATES

from ..balloon.densities import MAX_SCALE
from ..config.models import BalloonSettings
from . import (
    balloons,
    document,
    events,
    health,
    hinting,
    lifecycle,
    metrics,
    page,
    policy,
    reservations,
    resizes,
    server_sent,
    statistics,
)
from .bodies import MAX_BODY_BYTES
from .frames import changes, query, show
from .models.balloon import Balloon, BalloonList
from .models.decision import PlanView, RoundList, Snapshot
from .models.frames import Frames
from .models.hinting import HintingStart, HintingView
from .models.lifecycle import Health, Readiness, Reloaded, Restarting
from .models.policy import PlanRequest, PolicyChange, PolicyView
from .models.reservation import ReservationClaim, ReservationList, ReservationRequest, ReservationView
from .models.resize import ResizeList, ResizeView, TargetChange
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
    body_bytes: int = MAX_BODY_BYTES
    answers: tuple[int, ...] = (200,)
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    media: tuple[str, ...] = field(default=())


_BALLOON: Final = "/v1/balloons/{name}"
_RESERVATION: Final = "/v1/reservations/{id}"
_BODY_PROBLEMS: Final = (400, 404, 413, 415, 422)
_CHANGE_PROBLEMS: Final = (400, 413, 415, 422)

_WAIT: Final = Parameter(
    *("Prefer", {"type": "string"}, "wait=S: answer once reached, or after S seconds. All else is ignored.", "header")
)
_FORCE: Final = Parameter(
    "force", {"type": "boolean", "default": False}, "Retire it where a front-end is connected, which is answered on."
)
_EXTENT: Final = (
    Parameter(
        "first", {"type": "integer", "minimum": 0, "maximum": query.MAX_PFN - 1}, "First frame; the lowest by default."
    ),
    Parameter(
        "count",
        {"type": "integer", "minimum": 0, "maximum": query.MAX_PFN},
        "Frames; to the end of memory by default, where any window is cut off.",
    ),
    Parameter(
        "scale",
        {"type": "string", "pattern": r"^(auto|\d+)$", "default": "1"},
        f"Frames in a cell, a power of two up to {MAX_SCALE}; auto: as few as make a million cells or fewer.",
    ),
)
_WINDOW: Final = (
    Parameter("format", {"type": "string", "enum": list(query.FORMATS)}, "ranges is the default."),
    *_EXTENT,
    Parameter(
        "state",
        {"type": "string", "default": "ballooned"},
        f"Comma-separated states to show, of {', '.join(FRAME_STATES)}; all but ballooned for in-process guests only.",
    ),
    Parameter(
        "width",
        {"type": "integer", "minimum": 1, "maximum": query.MAX_WIDTH},
        f"Pixels in a row of the png; {query.DEFAULT_WIDTH} by default.",
    ),
    Parameter("If-None-Match", {"type": "string"}, "ETag of an answer: 304 where it still is the newest.", "header"),
)
_DECISIONS: Final = (
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": policy.MAX_ROUNDS, "default": policy.DEFAULT_ROUNDS},
        f"How many rounds; {policy.MAX_ROUNDS_WITH_INPUTS} at most with their inputs.",
    ),
    Parameter("balloon", {"type": "string"}, "What concerns this balloon only."),
    Parameter("inputs", {"type": "boolean", "default": False}, "With the snapshots that the policy was shown."),
)
_SINCE: Final = (
    Parameter(
        "since",
        {"type": "string", "pattern": r"^(.*-)?\d+$"},
        "X-Frame-Version of what was read, or the id of an event; from now on by default.",
    ),
    Parameter("Last-Event-ID", {"type": "string"}, "The same, of a viewer that comes again.", "header"),
)

ROUTES: Final = (
    Route("GET", "/v1/balloons", balloons.list_balloons, BalloonList),
    Route(
        *("POST", "/v1/balloons", balloons.add_balloon, Balloon, BalloonSettings),
        answers=(201,),
        problems=(400, 409, 413, 415, 422),
    ),
    Route("GET", _BALLOON, balloons.show_balloon, Balloon, problems=(404,)),
    Route("DELETE", _BALLOON, balloons.remove_balloon, answers=(204,), problems=(400, 404, 409), parameters=(_FORCE,)),
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
    Route("GET", f"{_BALLOON}/resizes", resizes.list_resizes, ResizeList, problems=(404,)),
    Route("GET", f"{_BALLOON}/resizes/{{id}}", resizes.show_resize, ResizeView, problems=(404,)),
    Route(
        "GET",
        f"{_BALLOON}/frames",
        show.show_frames,
        Frames,
        answers=(200, 304),
        problems=(400, 404, 422),
        parameters=_WINDOW,
        media=("application/octet-stream", "image/png"),
    ),
    Route(
        "GET",
        f"{_BALLOON}/frames/changes",
        changes.stream_frame_changes,
        problems=(400, 404, 503),
        parameters=(*_EXTENT, *_SINCE),
        media=(server_sent.MEDIA,),
    ),
    Route("GET", f"{_BALLOON}/statistics", statistics.show_statistics, StatisticsView, problems=(404, 503)),
    Route(
        "PATCH",
        f"{_BALLOON}/statistics",
        statistics.set_statistics_interval,
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
    Route(
        "GET",
        "/v1/events",
        events.stream_events,
        problems=(503,),
        parameters=(
            Parameter("balloon", {"type": "string"}, "Of this balloon only."),
            Parameter("Last-Event-ID", {"type": "string"}, "What came behind it is told first.", "header"),
        ),
        media=(server_sent.MEDIA,),
    ),
    Route("GET", "/v1/policy", policy.show_policy, PolicyView),
    Route("PUT", "/v1/policy", policy.choose_policy, PolicyView, PolicyChange, problems=_CHANGE_PROBLEMS),
    Route(
        "POST",
        "/v1/policy/plan",
        policy.plan_policy,
        PlanView,
        PlanRequest,
        body_bytes=policy.MAX_PLAN_BODY_BYTES,
        problems=(*_CHANGE_PROBLEMS, 429),
    ),
    Route("GET", "/v1/policy/decisions", policy.show_decisions, RoundList, problems=(400,), parameters=_DECISIONS),
    Route("GET", "/v1/policy/view", policy.show_view, Snapshot),
    Route("GET", "/v1/reservations", reservations.list_reservations, ReservationList),
    Route(
        *("POST", "/v1/reservations", reservations.reserve, ReservationView, ReservationRequest),
        answers=(201,),
        problems=(*_CHANGE_PROBLEMS, 409),
        parameters=(_WAIT,),
    ),
    Route(
        *("GET", _RESERVATION, reservations.show_reservation, ReservationView),
        problems=(400, 404),
        parameters=(_WAIT,),
    ),
    Route("DELETE", _RESERVATION, reservations.cancel_reservation, answers=(204,), problems=(404,)),
    Route(
        *("POST", f"{_RESERVATION}/claim", reservations.claim_reservation, ReservationView, ReservationClaim),
        body_required=False,
        problems=(400, 404, 409, 413, 415),
    ),
    Route("POST", "/v1/reload", lifecycle.reload, Reloaded, problems=(422,)),
    Route("POST", "/v1/restart", lifecycle.restart, Restarting, answers=(202,), problems=(409,)),
    Route("GET", "/healthz", health.healthz, Health),
    Route("GET", "/readyz", health.readyz, Readiness, answers=(200, 503)),
    Route("GET", "/openapi.json", document.show_document, media=("application/json",)),
    Route("GET", "/metrics", metrics.show_metrics, media=("application/openmetrics-text", "text/plain")),
    Route("GET", "/", page.show_page, answers=(200, 304), media=("text/html",)),
    Route(
        "GET",
        "/page/{name}",
        page.show_file,
        answers=(200, 304),
        problems=(401, 404),
        media=tuple(page.MEDIA.values()),
    ),
)
