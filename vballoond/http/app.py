"""The API as an aiohttp application, and the site on which it listens."""

from typing import Final

from aiohttp import web

from ..control import Control, NoControl
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..offload import Offload
from ..registry import Registry
from .guards import guard
from .keys import CONTROL, HOLDER, OFFLOAD, REGISTRY
from .openapi import openapi_document
from .problems import answer_problems
from .routes import ROUTES

MAX_BODY_BYTES: Final = 64 << 10
"""The largest request has two numbers in it."""


def build_app(
    registry: Registry,
    offload: Offload,
    holder: Holder | NoHolder | None = None,
    control: Control | None = None,
    *,
    hosts: frozenset[str] | None = None,
    token: str | None = None,
) -> web.Application:
    """Return the application.

    Args:
        registry: The balloons.
        offload: Where large maps are read.
        holder: Who has the descriptors for a process after this one.
        control: The daemon itself.
        hosts: Host names that are answered; None: any.
        token: The bearer token; None: none is wanted.
    """
    app = web.Application(middlewares=[answer_problems, guard(hosts, token)], client_max_size=MAX_BODY_BYTES)
    app[REGISTRY] = registry
    app[OFFLOAD] = offload
    app[HOLDER] = holder or NoHolder()
    app[CONTROL] = control or NoControl()
    document = openapi_document()

    async def openapi(request: web.Request) -> web.Response:
        del request
        return web.json_response(document)

    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler)  # and HEAD
        else:
            app.router.add_route(route.method, route.path, route.handler)
    app.router.add_get("/openapi.json", openapi)
    return app
