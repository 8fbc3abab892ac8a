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
    # No token is asked for here, so no guest is named.
    failing = sum(service.releasing.problem is not None for service in request.app[REGISTRY])
    problems = [f"memory of {failing} balloon(s) cannot be given back; the log says why"] if failing else []
    return json_response(Readiness(ready=not problems, problems=problems), status=503 if problems else 200)
