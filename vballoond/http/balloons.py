"""/v1/balloons: listing balloons, setting targets, guest statistics."""

import re
from typing import Final

from aiohttp import web

from protocol.balloon.page_frames import FRAME_BYTES

from ..config.models import MAX_STATISTICS_INTERVAL_S, MIN_STATISTICS_INTERVAL_S
from ..errors import OperatorError
from ..service.balloon_service import BalloonService
from .bodies import json_response, read_body
from .keys import CONTROL, REGISTRY
from .models.balloon import BalloonList, TargetChange, balloon_view
from .models.statistics import StatisticsChange, StatisticsInterval, statistics_view

MAX_WAIT_S: Final = 600

_U64_BITS: Final = 64
_WAIT: Final = re.compile(r"wait\s*=\s*\"?(\d+(?:\.\d+)?)\"?")


def service_of(request: web.Request) -> BalloonService:
    """Return the balloon that the path names."""
    return request.app[REGISTRY].find(request.match_info["name"])


async def list_balloons(request: web.Request) -> web.Response:
    """All balloons."""
    return json_response(BalloonList(balloons=[balloon_view(service) for service in request.app[REGISTRY]]))


async def show_balloon(request: web.Request) -> web.Response:
    """One balloon."""
    return json_response(balloon_view(service_of(request)))


async def set_target(request: web.Request) -> web.Response:
    """Begin a resize, and wait for it where ``Prefer: wait=S`` asks for that."""
    service = service_of(request)
    wait_s = _wait_of(request)
    change = await read_body(request, TargetChange)
    _check_target(service, change.in_bytes)
    number = service.set_target(change.in_bytes // FRAME_BYTES)
    await request.app[CONTROL].remember()
    if wait_s is None:
        return json_response(balloon_view(service), status=202)
    ended = await service.resizing.wait(number, wait_s)
    current = service.resizing.current
    assert current is not None
    if current.id != number:
        raise OperatorError(
            f"another request has set the target to {service.target_frames * FRAME_BYTES} bytes meanwhile",
            status=409,
            code="superseded",
        )
    answer = json_response(balloon_view(service), status=200 if ended else 202)
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


async def show_statistics(request: web.Request) -> web.Response:
    """What the guest last said of its memory, and how long ago."""
    service = service_of(request)
    statistics = service.device.state.statistics
    if statistics is None or not service.device.state.running:
        raise OperatorError(_no_statistics(service), status=503, code="no-statistics")
    return json_response(statistics_view(service, statistics))


async def set_statistics_interval(request: web.Request) -> web.Response:
    """Change how often the guest is asked; a driver that is not there yet will be asked so."""
    service = service_of(request)
    interval_s = (await read_body(request, StatisticsChange)).interval_s
    if interval_s and not MIN_STATISTICS_INTERVAL_S <= interval_s <= MAX_STATISTICS_INTERVAL_S:
        raise OperatorError(
            f"an interval of {interval_s:g} s is neither 0 (off) nor {MIN_STATISTICS_INTERVAL_S} to "
            f"{MAX_STATISTICS_INTERVAL_S}",
            status=422,
            code="interval-out-of-range",
        )
    service.set_statistics_interval(interval_s)
    await request.app[CONTROL].remember()
    return json_response(StatisticsInterval(name=service.settings.name, interval_s=interval_s))


def _no_statistics(service: BalloonService) -> str:
    if not service.device.state.running:
        return f"balloon {service.settings.name!r} is {service.state_name}: there is no driver to ask for statistics"
    return f"the driver of balloon {service.settings.name!r} has sent no statistics (yet)"


def _wait_of(request: web.Request) -> float | None:
    """Return the seconds of ``Prefer: wait=S``; None without it."""
    for preference in ",".join(request.headers.getall("Prefer", [])).split(","):
        if not preference.strip().lower().startswith("wait"):
            continue
        match = _WAIT.fullmatch(preference.strip().lower())
        if match is None or float(match[1]) > MAX_WAIT_S:
            raise OperatorError(f"Prefer: wait takes 0 to {MAX_WAIT_S} seconds, not {preference.strip()!r}")
        return float(match[1])
    return None
