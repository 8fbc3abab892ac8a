"""One line in the log for each request that may change something, and one at level debug for each that reads.

Rules of this file:

* A line says who asked for what and what came of it: never a header, a query or a body, any of which may hold a token.
* It comes when the request is over, be it that the daemon ends or the client has gone.
"""

import asyncio
import socket
import struct
from collections import Counter
from typing import Any, Final

import structlog
from aiohttp import web

from .guards import READING
from .problems import Handler

MAX_PATH_CHARACTERS: Final = 256
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS: Final[web.AppKey[Counter[tuple[str, str]]]] = web.AppKey("requests")
"""How many requests there were, by their method (any other is "other") and the status of the answer (or "none")."""

_CREDENTIALS: Final = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid


@web.middleware
async def log_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log a request once it is over; ``status`` is null where no answer came of it."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    remote = remote_of(request)
    status: int | None = None
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    finally:
        method = request.method if request.method in METHODS else "other"
        request.app[REQUESTS][method, "none" if status is None else str(status)] += 1
        log = structlog.get_logger()
        (log.debug if request.method in READING else log.info)(
            "request done",
            method=request.method,
            path=request.rel_url.raw_path[:MAX_PATH_CHARACTERS],  # as it came: what is quoted there harms no terminal
            status=status,
            duration_s=round(loop.time() - began_s, 6),
            **remote,
        )


def remote_of(request: web.Request) -> dict[str, Any]:
    """Return who asks: ``remote`` is an address, or "unix" with the ``uid`` of whoever connected."""
    transport = request.transport
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is None:
        return {"remote": None}
    if connection.family != socket.AF_UNIX:
        return {"remote": request.remote}
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return {"remote": "unix", "uid": _CREDENTIALS.unpack(credentials)[1]}
