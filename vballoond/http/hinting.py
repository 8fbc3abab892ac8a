"""/v1/balloons/{name}/hinting: rounds of free page hinting."""

from aiohttp import web

from ..errors import OperatorError
from ..service.balloon_service import BalloonService
from .balloons import service_of
from .bodies import json_response, read_body
from .models.hinting import HintingStart, hinting_view


async def start_hinting(request: web.Request) -> web.Response:
    """Begin a round; one that is under way is over with it."""
    service = _hinting_service(request)
    start = await read_body(request, HintingStart) if await request.read() else HintingStart()
    service.start_hinting(acknowledge_on_stop=start.acknowledge_on_stop)
    return json_response(hinting_view(service), status=202)


async def show_hinting(request: web.Request) -> web.Response:
    """The newest round, of this driver or of one before it."""
    return json_response(hinting_view(_hinting_service(request)))


async def stop_hinting(request: web.Request) -> web.Response:
    """Let the driver have again what it listed."""
    service = _hinting_service(request)
    service.stop_hinting()
    return json_response(hinting_view(service))


def _hinting_service(request: web.Request) -> BalloonService:
    service = service_of(request)
    if not service.can_hint:
        raise OperatorError(_no_hints(service), status=503, code="no-hinting")
    return service


def _no_hints(service: BalloonService) -> str:
    name = service.settings.name
    if "free-page-hint" not in service.settings.features:
        return f"balloon {name!r} does not offer hinting: add \"free-page-hint\" to its 'features'"
    if not service.device.state.running:
        return f"balloon {name!r} is {service.state_name}: there is no driver to ask for hints"
    return f"the driver of balloon {name!r} has not accepted free page hinting"
