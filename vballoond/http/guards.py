"""Who may ask, and for how long.

Rules of this file:

* A request has to name this daemon in its Host, against DNS rebinding: 403 otherwise.
* What changes anything must not come from another site's page in a browser, which can send it without asking (a POST
  without a JSON body needs no permission): 403. No answer has a CORS header, so none is ever given.
* Where tokens are set, a request has to carry one (401), and the one that reads only reads (403).
* Only then its body is read, in a bounded time: 408.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ..errors import OperatorError
from . import page
from .large_bodies import LargeBodies
from .problems import Handler, problem
from .tokens import Right, Tokens

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"}) | page.OPEN_PATHS
"""What a monitor asks and what a browser opens first need no token, and tell nothing of any guest."""

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""The methods that change nothing."""

BODY_S: Final = 30.0
"""How long a client may take to send a body, whatever its size."""

_OWN_SITE: Final = frozenset({"same-origin", "none"})  # none: typed by a person; all but browsers say nothing


def accepted_hosts(listen_host: str | None, configured: Iterable[str]) -> frozenset[str] | None:
    """Return the Host names that are answered; None, meaning any, on a Unix socket."""
    if listen_host is None:
        return None
    return _LOOPBACK_NAMES | {listen_host.lower()} | {name.lower() for name in configured}


def guard(hosts: frozenset[str] | None, tokens: Tokens, large_bodies: LargeBodies) -> "Middleware":
    """Return the middleware that turns away whoever may not ask, and has the body read."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if hosts is not None:
            _check_host(request, hosts)
        if request.method not in READING:
            _check_site(request)
        if request.path not in OPEN_PATHS:
            right = tokens.right_of(request.headers.get("Authorization", ""))
            if right is Right.NONE:
                return _no_token()
            if right is Right.READ and request.method not in READING:
                raise OperatorError(_READ_ONLY, status=403, code="read-only-token")
        if request.method in READING:
            return await handler(request)
        async with large_bodies.room(request) as bounded:
            await _read_body(bounded)
            return await handler(bounded)

    return check


_READ_ONLY: Final = "the token of this request only reads: GET and HEAD; http.token_file has the one that may do more"


def _no_token() -> web.Response:
    return problem(
        *(401, "no-token", "this daemon wants its bearer token, in the header Authorization"),
        headers={"WWW-Authenticate": "Bearer"},
    )


def _check_site(request: web.Request) -> None:
    """Raise an OperatorError where a browser says that another site's page sends this.

    Browsers say so in Sec-Fetch-Site; older ones only in Origin, which is this daemon's name for its own page.
    """
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        foreign = site.lower() not in _OWN_SITE
    else:
        foreign = origin is not None and origin.lower().partition("://")[2] != request.headers.get("Host", "").lower()
    if foreign:
        said = f"Sec-Fetch-Site: {site}" if site is not None else f"Origin: {origin}"
        detail = f"another site's page may change nothing here (the browser says {said!r})"
        raise OperatorError(detail, status=403, code="cross-site")


async def _read_body(request: web.Request) -> None:
    """Have the body read, which the request keeps."""
    try:
        async with asyncio.timeout(BODY_S):
            await request.read()
    except TimeoutError:
        detail = f"the request's body did not come within {BODY_S:g} s"
        raise OperatorError(detail, status=408, code="slow-body") from None


def _check_host(request: web.Request, hosts: frozenset[str]) -> None:
    """Raise an OperatorError where a request does not name one of ``hosts``.

    One without a Host, which HTTP/1.0 allows, names none. What ``request.host`` would be then depends on aiohttp's
    version: the address on which it came, or this machine's name, for which the resolver is asked while all else waits.
    """
    if "Host" not in request.headers:
        detail = "the request has no Host, which has to be a name of this daemon"
    elif _host_name(request.host) not in hosts:
        detail = f"{request.host!r} is not a name of this daemon; add it to http.hosts to have it answered"
    else:
        return
    raise OperatorError(detail, status=403, code="foreign-host")


def _host_name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()
