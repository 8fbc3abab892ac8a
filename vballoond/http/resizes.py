"""/v1/balloons/{name}/resizes: the resizes of a balloon, the newest and those before."""

from aiohttp import web

from ..errors import OperatorError
from .balloons import service_of
from .bodies import json_response
from .models.resize import ResizeList, resize_view

_MOST_DIGITS = 18  # of a number that can be looked for


async def list_resizes(request: web.Request) -> web.Response:
    """The resizes that are remembered, the newest first."""
    service = service_of(request)
    views = [resize_view(service, resize) for resize in service.resizing]
    return json_response(ResizeList(name=service.settings.name, resizes=views))


async def show_resize(request: web.Request) -> web.Response:
    """One resize."""
    service = service_of(request)
    text = request.match_info["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    resize = service.resizing.find(number)
    if resize is None:
        known = [resize.id for resize in service.resizing]
        there_are = f"there are {known[-1]} to {known[0]}" if known else "there are none"
        raise OperatorError(
            f"balloon {service.settings.name!r} has no resize {text!r}; {there_are}", status=404, code="no-such-resize"
        )
    return json_response(resize_view(service, resize))
