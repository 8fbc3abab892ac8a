"""The Unix socket on which a VM monitor finds its balloon: one front-end at a time."""

import asyncio
import socket
from typing import Final

import structlog

from ...service.balloon_service import BalloonService
from ...unix_socket import UnixListener
from .backend import Backend

_RETRY_S: Final = 1.0  # after the process ran out of descriptors


class Listener:
    """Listens for the front-ends of one balloon.

    A second front-end is turned away while the first is connected: its connection is closed at once, and the first does
    not notice. One that comes when the first has just gone waits until nothing of that is left.

    Args:
        service: The balloon; its settings have the socket's path, mode and group.

    Raises:
        StartError: The path cannot be listened on; nothing is left behind.
    """

    def __init__(self, service: BalloonService) -> None:
        settings = service.settings
        assert settings.socket is not None
        self._service: Final = service
        self._listener: Final = UnixListener(settings.socket, mode=settings.socket_mode, group=settings.socket_group)
        self._backend: Backend | None = None
        self._connection: asyncio.Task[None] | None = None
        self._log: Final = structlog.get_logger().bind(balloon=settings.name)

    def start(self) -> None:
        """Accept front-ends, in the running event loop."""
        asyncio.get_running_loop().add_reader(self._listener.socket, self._accept)

    async def stop(self) -> None:
        """End the connection if there is one, and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._listener.socket)
        self._listener.close()
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.gather(self._connection, return_exceptions=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log.error("front-end not accepted", reason=error.strerror)
            asyncio.get_running_loop().remove_reader(self._listener.socket)
            asyncio.get_running_loop().call_later(_RETRY_S, self._accept_again)
            return
        if self._is_busy():
            self._log.warning("second front-end turned away", socket=str(self._listener.path))
            connection.close()
            return
        name = f"vhost-user {self._service.settings.name}"
        serving = self._serve(connection, after=self._connection)
        self._connection = asyncio.get_running_loop().create_task(serving, name=name)

    def _accept_again(self) -> None:
        if self._listener.socket.fileno() >= 0:
            self.start()

    def _is_busy(self) -> bool:
        gone = self._connection is None or self._connection.done()
        return not gone and (self._backend is None or not self._backend.hung_up())

    async def _serve(self, connection: socket.socket, after: asyncio.Task[None] | None) -> None:
        self._backend = None
        try:
            if after is not None:
                await asyncio.wait({after})
        except BaseException:
            connection.close()
            raise
        self._backend = Backend(self._service, connection)
        await self._backend.run()
