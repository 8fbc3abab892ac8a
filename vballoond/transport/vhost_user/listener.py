"""The Unix socket on which a VM monitor finds its balloon: one front-end at a time."""

import asyncio
from typing import Final

import structlog

from ...holder.holder import Holder
from ...holder.no_holder import NoHolder
from ...service.balloon_service import BalloonService
from ...unix_socket import UnixListener
from .backend import Backend
from .left import LeftBalloon, LeftConnection, connection_prefix, listener_name

_RETRY_S: Final = 1.0  # after the process ran out of descriptors


class Listener:
    """Listens for the front-ends of one balloon.

    A second front-end is turned away while the first is connected: its connection is closed at once, and the first does
    not notice. One that comes when the first has just gone waits until nothing of that is left.

    Args:
        service: The balloon; its settings have the socket's path, mode and group.
        holder: Has the socket and all connections for a process after this one.
        left: What an earlier process left of both.

    Raises:
        StartError: The path cannot be listened on; nothing is left behind.
    """

    def __init__(self, service: BalloonService, holder: Holder | NoHolder, left: LeftBalloon | None = None) -> None:
        settings = service.settings
        assert settings.socket is not None
        left = left or LeftBalloon()
        self._service: Final = service
        self._holder: Final = holder
        self._left: Final = left
        self._serial = left.last_serial
        self._listener: Final = UnixListener(
            settings.socket, mode=settings.socket_mode, group=settings.socket_group, left=left.listener
        )
        self._retired = False
        self._backend: Backend | None = None
        self._connection: asyncio.Task[None] | None = None
        self._log: Final = structlog.get_logger().bind(balloon=settings.name)

    async def start(self) -> None:
        """Accept front-ends, in the running event loop; go on with the one that an earlier process served."""
        if not self._listener.taken_over:
            self._holder.remove([listener_name(self._service.settings.name)])
            await self._holder.store({listener_name(self._service.settings.name): self._listener.socket.fileno()})
        connection = self._left.connection
        self._holder.remove(self._left.stale)
        if connection is not None:
            self._begin(connection)
        self._listen()

    def _listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._listener.socket, self._accept)

    def retire(self) -> None:
        """Accept nobody any more, and remove the socket; a connection goes on. Retiring twice is harmless."""
        if not self._retired:
            self._retired = True
            asyncio.get_running_loop().remove_reader(self._listener.socket)
            self._listener.close()
            self._holder.remove([listener_name(self._service.settings.name)])

    async def ended(self) -> None:
        """Wait until the connection has ended, if there is one."""
        if self._connection is not None:
            await asyncio.wait({self._connection})

    async def stop(self) -> None:
        """Retire, and end the connection if there is one."""
        self.retire()
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
        self._serial += 1
        self._begin(LeftConnection(self._serial, connection.detach()))

    def _begin(self, connection: LeftConnection) -> None:
        name = f"vhost-user {self._service.settings.name}"
        serving = self._serve(connection, after=self._connection)
        self._connection = asyncio.get_running_loop().create_task(serving, name=name)

    def _accept_again(self) -> None:
        if self._listener.socket.fileno() >= 0:
            self._listen()

    def _is_busy(self) -> bool:
        gone = self._connection is None or self._connection.done()
        return not gone and (self._backend is None or not self._backend.hung_up())

    async def _serve(self, connection: LeftConnection, after: asyncio.Task[None] | None) -> None:
        self._backend = None
        try:
            if after is not None:
                await asyncio.wait({after})
            fixtures = connection.fixtures()
        except BaseException:
            connection.close()
            raise
        prefix = connection_prefix(self._service.settings.name, connection.serial)
        self._backend = Backend(self._service, fixtures, self._holder, prefix, connection.others)
        await self._backend.run()
