"""/v1/reload and /v1/restart: the daemon as a whole."""

import os

from aiohttp import web

from .bodies import json_response
from .keys import CONTROL
from .models.lifecycle import Reloaded, Restarting


async def reload(request: web.Request) -> web.Response:
    """Read the configuration anew and follow it."""
    return json_response(Reloaded(done=await request.app[CONTROL].reload()))


async def restart(request: web.Request) -> web.Response:
    """Have another process take over."""
    request.app[CONTROL].restart()
    return json_response(Restarting(pid=os.getpid()), status=202)
