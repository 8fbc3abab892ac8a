"""Who may ask: names of this host against DNS rebinding, and a bearer token where one is set."""

import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ..errors import OperatorError
from .problems import Handler, problem

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/"})
"""What a monitor asks and what a browser opens first need no token, and tell nothing of any guest."""


def accepted_hosts(listen_host: str | None, configured: Iterable[str]) -> frozenset[str] | None:
    """Return the Host names that are answered; None, meaning any, on a Unix socket."""
    if listen_host is None:
        return None
    return _LOOPBACK_NAMES | {listen_host.lower()} | {name.lower() for name in configured}


def guard(hosts: frozenset[str] | None, token: str | None) -> "Middleware":
    """Return the middleware that turns away foreign hosts (403) and whoever lacks the token (401)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if hosts is not None:
            _check_host(request, hosts)
        if token is not None and request.path not in OPEN_PATHS and not _has_token(request, token):
            return problem(
                *(401, "no-token", "this daemon wants its bearer token, in the header Authorization"),
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return check


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


def _has_token(request: web.Request, token: str) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Compared in constant time; on bytes, since a header may hold anything.
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode("utf-8", "surrogateescape"), token.encode()
    )
