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
    problems = problems_of(request.app)
    return json_response(Readiness(ready=not problems, problems=problems), status=503 if problems else 200)


def problems_of(app: web.Application) -> list[str]:
    """Return what is not as it should be, a sentence for each."""
    # No token is asked for where this is said, so no guest is named.
    failing = sum(service.releasing.problem is not None for service in app[REGISTRY])
    problems = [f"memory of {failing} balloon(s) cannot be given back; the log says why"] if failing else []
    if isinstance(holder := app[HOLDER], Holder) and not holder.alive:
        problems.append("whoever kept the descriptors is gone: guests would notice if this process ended; start again")
    return problems + app[CONTROL].problems
