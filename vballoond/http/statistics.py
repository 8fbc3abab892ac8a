"""/v1/balloons/{name}/statistics: what a guest says of its memory, and how often it is asked."""

from aiohttp import web

from ..config.models import MAX_STATISTICS_INTERVAL_S, MIN_STATISTICS_INTERVAL_S
from ..errors import OperatorError
from ..service.balloon_service import BalloonService
from .balloons import service_of
from .bodies import json_response, read_body
from .keys import CONTROL
from .models.statistics import StatisticsChange, StatisticsInterval, statistics_view


async def show_statistics(request: web.Request) -> web.Response:
    """What the guest last said of its memory, how long ago, and what speaks against it."""
    service = service_of(request)
    statistics = service.device.state.statistics
    if statistics is None or not service.device.state.running:
        raise OperatorError(_no_statistics(service), status=503, code="no-statistics")
    return json_response(statistics_view(service, statistics))


async def set_statistics_interval(request: web.Request) -> web.Response:
    """Change how often the guest is asked, and ask it at once; a driver that is not there yet will be asked so."""
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
    if interval_s:
        service.ask_for_statistics()
    await request.app[CONTROL].remember()
    return json_response(StatisticsInterval(name=service.settings.name, interval_s=interval_s))


def _no_statistics(service: BalloonService) -> str:
    name = service.settings.name
    if not service.device.state.running:
        return f"balloon {name!r} is {service.state_name}: there is no driver to ask for statistics"
    if "stats" not in service.settings.features:
        return f"balloon {name!r} does not offer statistics: add \"stats\" to its 'features'"
    return f"the driver of balloon {name!r} has sent no statistics (yet)"
