"""/v1/balloons: listing balloons, setting targets."""

from typing import Final

from aiohttp import web

from protocol.balloon.page_frames import FRAME_BYTES

from ..balloon.resize import Outcome
from ..config.models import BalloonSettings
from ..errors import OperatorError
from ..service.balloon_service import BalloonService
from .bodies import json_response, read_body
from .keys import CONTROL, REGISTRY
from .models.balloon import BalloonList, balloon_view
from .models.resize import TargetChange
from .preferences import wait_of

_U64_BITS: Final = 64


def service_of(request: web.Request) -> BalloonService:
    """Return the balloon that the path names."""
    return request.app[REGISTRY].find(request.match_info["name"])


async def list_balloons(request: web.Request) -> web.Response:
    """All balloons."""
    return json_response(BalloonList(balloons=[balloon_view(service) for service in request.app[REGISTRY]]))


async def show_balloon(request: web.Request) -> web.Response:
    """One balloon."""
    return json_response(balloon_view(service_of(request)))


async def add_balloon(request: web.Request) -> web.Response:
    """Add a balloon at run time, with the keys of [[balloon]] in the configuration."""
    service = await request.app[CONTROL].add(await read_body(request, BalloonSettings))
    answer = json_response(balloon_view(service), status=201)
    answer.headers["Location"] = f"/v1/balloons/{service.settings.name}"
    return answer


async def remove_balloon(request: web.Request) -> web.Response:
    """Remove a balloon. One with a front-end is only retired, and only where ``?force=true`` says so."""
    force = request.query.get("force", "false")
    if force not in ("true", "false"):
        raise OperatorError(f"query force={force!r}: it takes true or false", code="bad-query")
    await request.app[CONTROL].remove(request.match_info["name"], force=force == "true")
    return web.Response(status=204)


async def set_target(request: web.Request) -> web.Response:
    """Begin a resize, and wait for it where ``Prefer: wait=S`` asks for that."""
    service = service_of(request)
    wait_s = wait_of(request)
    change = await read_body(request, TargetChange)
    _check_target(service, change.in_bytes)
    number = service.set_target(change.in_bytes // FRAME_BYTES, change.terms)
    await request.app[CONTROL].remember()
    if wait_s is None:
        return json_response(balloon_view(service), status=202)
    await service.resizing.wait(number, wait_s)
    resize = service.resizing.find(number)
    if resize is None or resize.outcome is Outcome.SUPERSEDED:
        raise OperatorError(
            f"another request has set the target to {service.target_frames * FRAME_BYTES} bytes meanwhile",
            status=409,
            code="superseded",
        )
    answer = json_response(balloon_view(service), status=200 if resize.done else 202)
    answer.headers["Preference-Applied"] = f"wait={wait_s:g}"
    return answer


def _check_target(service: BalloonService, target_bytes: int) -> None:
    least, most = service.settings.min, service.limit_bytes()
    if not least <= target_bytes <= most:
        raise OperatorError(
            f"a target of {_in_words(target_bytes)} is outside of {least} to {most} bytes, what this balloon can have",
            status=422,
            code="target-out-of-range",
            limit_bytes=most if target_bytes > most else least,
        )


def _in_words(target_bytes: int) -> str:
    # Python refuses to write numbers of thousands of digits.
    if target_bytes.bit_length() <= _U64_BITS:
        return f"{target_bytes} bytes"
    return "more than 2**64 bytes" if target_bytes > 0 else "less than -2**64 bytes"
