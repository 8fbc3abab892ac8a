"""The Unix socket itself: opened, kept with the holder, and closed.

Rules of this file:

* The listening socket goes on over a restart of the worker, so a client that comes meanwhile waits. Connections do not:
  their clients make new ones.
* What a client sets is kept before it is answered, as what the API sets is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..service.balloon_service import BalloonService
from ..transport.vhost_user.left import firecracker_name
from ..unix_socket import UnixListener
from .balloon import carry_out, is_kept
from .connections import Connections
from .faults import FaultError
from .requests import parse

_SHUTDOWN_S: Final = 2.0  # how long open requests may go on


class FirecrackerSocket:
    """One balloon's Firecracker-shaped API.

    Args:
        service: The balloon; its settings have the socket's path, mode and group.
        remember: Returns once what is set is kept.
        left_fd: The socket as an earlier process left it, which is this one's from now on; None: there is none.
        holder: Has the socket for a process after this one.
    """

    def __init__(
        self,
        service: BalloonService,
        remember: Callable[[], Awaitable[None]],
        left_fd: int | None,
        holder: Holder | NoHolder,
    ) -> None:
        self._service: Final = service
        self._remember: Final = remember
        self._left_fd = left_fd
        self._holder: Final = holder
        self._name: Final = firecracker_name(service.settings.name)
        self._listener: UnixListener | None = None
        self._connections: Connections | None = None
        self._accepting: asyncio.Server | None = None

    async def listen(self) -> None:
        """Have the socket; who connects is answered once it is served. After a failure it can be tried again.

        Raises:
            StartError: The path cannot be listened on; nothing is left behind.
        """
        self._listener = listener = self._open()
        if not listener.taken_over:
            self._holder.remove([self._name])
            await self._holder.store({self._name: listener.socket.fileno()})

    async def serve(self) -> None:
        """Answer from now on, where there is a socket."""
        if self._listener is not None and self._accepting is None:
            self._connections = Connections(self._answer)
            loop = asyncio.get_running_loop()
            self._accepting = await loop.create_server(self._connections, sock=self._listener.socket)

    async def stop(self) -> None:
        """Answer nobody any more, and remove the socket. Stopping twice is harmless."""
        if self._accepting is not None and self._connections is not None:
            self._accepting.close()
            self._connections.pre_shutdown()
            await self._connections.shutdown(_SHUTDOWN_S)
            self._accepting = self._connections = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._holder.remove([self._name])

    def _open(self) -> UnixListener:
        settings = self._service.settings
        assert settings.firecracker_socket is not None
        left, self._left_fd = self._left_fd, None
        try:
            return UnixListener(
                settings.firecracker_socket, mode=settings.socket_mode, group=settings.socket_group, left=left
            )
        except BaseException:
            self._holder.remove([self._name])
            raise

    async def _answer(self, method: str, target: str, body: bytes) -> Mapping[str, Any] | None:
        try:
            request = parse(method, target, body)
            shown = carry_out(self._service, request)
        except FaultError as fault:
            log = self._service.log.debug if method == "GET" else self._service.log.info
            log("firecracker request refused", method=method, reason=fault.detail)
            raise
        if is_kept(request):
            await self._remember()
            self._service.log.info("firecracker request done", method=method, request=repr(request))
        return shown
