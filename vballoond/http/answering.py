"""The API's answers on a socket that is there. To import this file is to import all of the API."""

import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from .app import build_app
from .connections import Edge
from .guards import accepted_hosts
from .tokens import Tokens

_SHUTDOWN_S: Final = 2.0  # how long the API's open requests may go on after a signal

BuildApp = Callable[..., web.Application]
"""Is :func:`vballoond.http.app.build_app`."""

MakeApp = Callable[[BuildApp, frozenset[str] | None, Tokens], web.Application]
"""Makes the application for those hosts and tokens."""

Named = tuple[str | None, Iterable[str]]
"""Where the API listens, None on a Unix socket, and by which further names it is known."""

Answer = Callable[[MakeApp, socket.socket, Named, Tokens, AsyncExitStack], Awaitable[None]]
"""Is :func:`answer`."""


async def answer(
    make_app: MakeApp, listener: socket.socket, named: Named, tokens: Tokens, ending: AsyncExitStack
) -> None:
    """Answer on ``listener`` until ``ending`` is closed, also after a failure."""
    app = make_app(build_app, accepted_hosts(*named), tokens)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    ending.push_async_callback(runner.cleanup)
    await Edge(runner, listener).start()
