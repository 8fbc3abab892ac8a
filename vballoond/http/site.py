"""Where the API is served: its socket first, which a second daemon meets, and the application once there is one."""

from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ..config.models import HttpSettings
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from .connections import Edge
from .guards import accepted_hosts
from .listen import check_http, left_api_socket, open_api_socket
from .tokens import Tokens

if TYPE_CHECKING:
    import socket

API: Final = "api"
"""By which name the holder has the socket."""

_SHUTDOWN_S: Final = 2.0  # how long the API's open requests may go on after a signal

MakeApp = Callable[[frozenset[str] | None, Tokens], web.Application]
"""Makes the application for those hosts and tokens."""


class Site:
    """The API's place.

    Args:
        holder: Has its socket for a process after this one.
    """

    def __init__(self, holder: Holder | NoHolder) -> None:
        self.url = ""
        """Where it is found; empty while it is not."""
        self._holder: Final = holder
        self._socket: socket.socket | None = None
        self._hosts: frozenset[str] | None = None
        self._tokens = Tokens()
        self._opened: Final = AsyncExitStack()

    async def listen(self, settings: HttpSettings, left_fd: int | None = None) -> None:
        """Have the socket.

        Args:
            settings: Where it is to be, and who may ask.
            left_fd: It, as an earlier process left it; where it is another one, it is closed.

        Raises:
            StartError: It cannot be had; nothing is left behind.
        """
        _, self._tokens = check_http(settings)
        left = None if left_fd is None else left_api_socket(settings, left_fd)
        if left is None:
            # It may be in the way of the new one for as long as the holder has it.
            self._holder.remove([API])
            await self._holder.store({})
        with ExitStack() as stack:
            listener, address = open_api_socket(settings, stack, left)
            await self._holder.store({API: listener.fileno()})
            self._hosts = accepted_hosts(address.host, settings.hosts)
            self._opened.enter_context(stack.pop_all())
        self._socket = listener
        self.url = f"unix:{address.path}" if address.path else f"http://{address.host}:{listener.getsockname()[1]}"

    async def serve(self, make_app: MakeApp) -> None:
        """Answer, where there is a socket."""
        if self._socket is not None:
            runner = web.AppRunner(make_app(self._hosts, self._tokens), access_log=None, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            self._opened.push_async_callback(runner.cleanup)
            await Edge(runner, self._socket).start()

    async def close(self) -> None:
        """Answer no more, and remove the socket."""
        self.url = ""
        self._socket = None
        await self._opened.aclose()
