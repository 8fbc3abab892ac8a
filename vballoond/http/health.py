"""/healthz and /readyz."""

import os

from aiohttp import web

from ..holder.holder import Holder
from .bodies import json_response
from .keys import CONTROL, HOLDER, REGISTRY
from .models.lifecycle import Health, Readiness


async def healthz(request: web.Request) -> web.Response:
    """The daemon answers, so it is alive."""
    return json_response(Health(pid=os.getpid(), keeper_pid=request.app[HOLDER].keeper_pid))


async def readyz(request: web.Request) -> web.Response:
    """Whether memory can be given back wherever it is asked for, and guests would survive this process."""
    # No token is asked for here, so no guest is named.
    failing = sum(service.releasing.problem is not None for service in request.app[REGISTRY])
    problems = [f"memory of {failing} balloon(s) cannot be given back; the log says why"] if failing else []
    if isinstance(holder := request.app[HOLDER], Holder) and not holder.alive:
        problems.append("whoever kept the descriptors is gone: guests would notice if this process ended; start again")
    problems += request.app[CONTROL].problems
    return json_response(Readiness(ready=not problems, problems=problems), status=503 if problems else 200)
