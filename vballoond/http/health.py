"""/healthz and /readyz."""

import os

from aiohttp import web

from .bodies import json_response
from .keys import REGISTRY
from .models import Health, Readiness


async def healthz(request: web.Request) -> web.Response:
    """The daemon answers, so it is alive."""
    del request
    return json_response(Health(pid=os.getpid()))


async def readyz(request: web.Request) -> web.Response:
    """Whether memory can be given back wherever it is asked for."""
    problems = [
        f"balloon {service.settings.name!r}: memory cannot be given back: {service.release_problem}"
        for service in request.app[REGISTRY]
        if service.release_problem is not None
    ]
    return json_response(Readiness(ready=not problems, problems=problems), status=503 if problems else 200)
