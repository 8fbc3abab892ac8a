"""The API as an aiohttp application, and the site on which it listens."""

import secrets
import time
from collections import Counter
from functools import cache
from typing import Final

from aiohttp import web

from ..clock import Clock
from ..config.policy import PolicySettings
from ..control import Control, NoControl
from ..events.log import EventLog
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..offload import Offload
from ..registry import Registry
from ..runner.runner import PolicyRunner
from .bodies import MAX_BODY_BYTES
from .connections import count_as_busy
from .document import DOCUMENT, Document
from .guards import guard
from .keys import CONTROL, EVENTS, HOLDER, OFFLOAD, POLICY, REGISTRY, RUN
from .large_bodies import LargeBodies
from .openapi import openapi_document
from .problems import answer_problems
from .request_log import REQUESTS, log_requests
from .routes import ROUTES
from .server_sent import allow_streams
from .tokens import Tokens

_LARGE_BODIES: Final = {route.path: route.body_bytes for route in ROUTES if route.body_bytes > MAX_BODY_BYTES}


def build_app(
    registry: Registry,
    offload: Offload,
    holder: Holder | NoHolder | None = None,
    control: Control | None = None,
    events: EventLog | None = None,
    policies: PolicyRunner | None = None,
    *,
    hosts: frozenset[str] | None = None,
    token: str | None = None,
    read_token: str | None = None,
    tokens: Tokens | None = None,
    run: str | None = None,
) -> web.Application:
    """Return the application.

    Args:
        registry: The balloons.
        offload: Where large maps are read.
        holder: Who has the descriptors for a process after this one.
        control: The daemon itself.
        events: What happens to balloons.
        policies: Who decides on their sizes; None: nobody, and nothing is kept of what is asked.
        hosts: Host names that are answered; None: any.
        token: The bearer token; None: none is wanted.
        read_token: Beside ``token``, the one that only reads.
        tokens: Both of them, as they were read from their files.
        run: Names this run of the daemon; None: at random.
    """
    guards = guard(hosts, tokens or Tokens.of(token, read_token), LargeBodies(_LARGE_BODIES))
    app = web.Application(
        middlewares=[count_as_busy, log_requests, answer_problems, guards], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(_keep_to_this_site)
    app[REQUESTS] = Counter()
    app[REGISTRY] = registry
    app[OFFLOAD] = offload
    app[RUN] = run or secrets.token_hex(4)
    app[HOLDER] = holder or NoHolder()
    app[CONTROL] = control or NoControl()
    clock = Clock(time.monotonic)
    app[EVENTS] = events = events or EventLog(secrets.token_hex(4), clock.now)
    app[POLICY] = policies or PolicyRunner(PolicySettings(), registry, offload, events, clock)
    if policies is None:
        app.on_cleanup.append(_close_policies)
    allow_streams(app)
    document: Document = cache(openapi_document)
    app[DOCUMENT] = document
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler)  # and HEAD
        else:
            app.router.add_route(route.method, route.path, route.handler)
    return app


async def _close_policies(app: web.Application) -> None:
    await app[POLICY].close()


async def _keep_to_this_site(request: web.Request, response: web.StreamResponse) -> None:
    """Have browsers show an answer to no other site, not even as a picture, and take it for nothing else."""
    del request
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
