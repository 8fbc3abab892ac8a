"""The Unix socket on which a VM monitor finds its balloon: one front-end at a time.

Rules of this file:

* A connection goes on whatever becomes of the socket: nobody new can connect then, which is a problem that is said.
* A number of a connection is never given twice while the holder may have something by it.
"""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Final

import structlog

from ...errors import StartError
from ...holder.holder import Holder
from ...holder.no_holder import NoHolder
from ...service.balloon_service import BalloonService
from ...unix_socket import UnixListener
from .backend import Backend
from .left import LeftBalloon, LeftConnection, connection_prefix, listener_name

_RETRY_S: Final = 1.0  # after the process ran out of descriptors


class Listener:
    """Listens for the front-ends of one balloon; where that is retired already, serves what was left of it.

    A second front-end is turned away while the first is connected: its connection is closed at once, and the first does
    not notice. One that comes when the first has just gone waits until nothing of that is left.

    Args:
        service: The balloon; its settings have the socket's path, mode and group.
        holder: Has the socket and all connections for a process after this one.
        left: What an earlier process left of both. Its retired connections are others'.
        serials: Where the numbers of connections come from; None: behind those that were left.

    Raises:
        StartError: The path cannot be listened on, and no connection was left; nothing is left behind.
    """

    def __init__(
        self,
        service: BalloonService,
        holder: Holder | NoHolder,
        left: LeftBalloon | None = None,
        serials: Iterator[int] | None = None,
    ) -> None:
        self.problem: str | None = None
        """Why nobody new can connect; None where it is possible, or not wanted."""
        left = left or LeftBalloon()
        self._service: Final = service
        self._holder: Final = holder
        self._left: Final = left
        self._serials: Final = count(left.last_serial + 1) if serials is None else serials
        self._name: Final = listener_name(service.settings.name)
        self._backend: Backend | None = None
        self._connection: asyncio.Task[None] | None = None
        self._listener: UnixListener | None = None
        self._log: Final = structlog.get_logger().bind(balloon=service.settings.name)
        if service.retired:
            return
        try:
            self._listener = self._open(left.listener)
        except StartError as error:
            if left.connection is None:
                raise
            self.problem = error.detail
            self._log.error("nobody can connect", reason=error.detail)

    def _open(self, left: int | None = None) -> UnixListener:
        settings = self._service.settings
        assert settings.socket is not None
        return UnixListener(settings.socket, mode=settings.socket_mode, group=settings.socket_group, left=left)

    @property
    def occupied(self) -> bool:
        """Whether there is a connection, or what is left of one."""
        return self._connection is not None and not self._connection.done()

    async def start(self) -> None:
        """Accept front-ends, in the running event loop; go on with the one that an earlier process served."""
        self._holder.remove(self._left.stale)
        if self._left.connection is not None:
            self._begin(self._left.connection)
        await self._listen()

    async def mend(self) -> None:
        """Accept front-ends where that was not possible before.

        Raises:
            StartError: It still is not.
        """
        if self.problem is not None:
            self._listener = self._open()
            self.problem = None
            await self._listen()

    async def _listen(self) -> None:
        if self._service.retired:
            return  # the name is another's
        listener = self._listener
        if listener is None or not listener.taken_over:
            self._holder.remove([self._name])
        if listener is not None and not listener.taken_over:
            await self._holder.store({self._name: listener.socket.fileno()})
        self._accept_again()

    def retire(self) -> None:
        """Accept nobody any more, remove the socket, and see the connection off. Retiring twice is harmless."""
        self._stop_listening()
        self._service.retire()
        if self._backend is not None:
            self._backend.write()

    async def ended(self) -> None:
        """Wait until the connection has ended, if there is one."""
        if self._connection is not None:
            await asyncio.wait({self._connection})

    async def stop(self) -> None:
        """Accept nobody any more, remove the socket, and end the connection if there is one."""
        self._stop_listening()
        if self._connection is not None:
            await asyncio.sleep(0)  # a task that is cancelled before it has begun leaves its descriptors open
            self._connection.cancel()
            await asyncio.gather(self._connection, return_exceptions=True)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.socket)
            self._listener.close()
            self._listener = None
            self._holder.remove([self._name])
        self.problem = None

    def _accept(self) -> None:
        assert self._listener is not None
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
        self._begin(LeftConnection(next(self._serials), connection.detach()))

    def _begin(self, connection: LeftConnection) -> None:
        name = f"vhost-user {self._service.settings.name}"
        serving = self._serve(connection, after=self._connection)
        self._connection = asyncio.get_running_loop().create_task(serving, name=name)

    def _accept_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.socket, self._accept)

    def _is_busy(self) -> bool:
        return self.occupied and (self._backend is None or not self._backend.hung_up())

    async def _serve(self, connection: LeftConnection, after: asyncio.Task[None] | None) -> None:
        self._backend = None
        try:
            if after is not None:
                await asyncio.wait({after})
            fixtures = connection.fixtures()
        except OSError as error:
            self._log.error("front-end not served", reason=error.strerror)
            self._holder.remove(connection.names(self._service.settings.name))
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        prefix = connection_prefix(self._service.settings.name, connection.serial)
        self._backend = Backend(self._service, fixtures, self._holder, prefix, connection.others)
        await self._backend.run()
