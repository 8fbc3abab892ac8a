"""The Unix socket on which a VM monitor finds its balloon: one front-end at a time."""

import asyncio
import contextlib
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

import structlog

from ...errors import StartError
from ...service.balloon_service import BalloonService
from .backend import Backend

_BACKLOG: Final = 4


class Listener:
    """Listens for the front-ends of one balloon.

    A second front-end is turned away while the first is connected: its connection is closed at once, and the first does
    not notice.

    Args:
        service: The balloon; its settings have the socket's path, mode and group.

    Raises:
        StartError: The path cannot be listened on; nothing is left behind.
    """

    def __init__(self, service: BalloonService) -> None:
        assert service.settings.socket is not None
        self._service: Final = service
        self._path: Final = service.settings.socket
        self._socket: Final = listen_on(self._path, service.settings.socket_mode, service.settings.socket_group)
        self._inode: Final = self._path.stat().st_ino
        self._connection: asyncio.Task[None] | None = None
        self._log: Final = structlog.get_logger().bind(balloon=service.settings.name)

    def start(self) -> None:
        """Accept front-ends, in the running event loop."""
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def stop(self) -> None:
        """End the connection if there is one, and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        if self._connection is not None:
            self._connection.cancel()
            await asyncio.gather(self._connection, return_exceptions=True)
        with contextlib.suppress(OSError):
            # Somebody may have put another socket in the place of ours meanwhile.
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        if self._connection is not None and not self._connection.done():
            self._log.warning("second front-end turned away", socket=str(self._path))
            connection.close()
            return
        loop = asyncio.get_running_loop()
        backend = Backend(self._service, connection)
        self._connection = loop.create_task(backend.run(), name=f"vhost-user {self._service.settings.name}")


def listen_on(path: Path, mode: int, group: str | None) -> socket.socket:
    """Return a listening Unix socket at ``path``, which nobody can connect to before mode and group are set.

    A socket that nobody listens on any more is replaced.

    Raises:
        StartError: Exit status 1: somebody listens there, something else is there, or it cannot be made.
    """
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on socket {path}: {error.strerror or error}", exit_status=1) from error
    try:
        # Until listen() a connection is refused, so nobody slips in before the mode is set.
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(mode)
        listener.listen(_BACKLOG)
    except (OSError, KeyError) as error:
        listener.close()
        path.unlink(missing_ok=True)
        why = f"there is no group {group!r} on this host" if isinstance(error, KeyError) else error.strerror
        raise StartError(f"cannot set up socket {path}: {why}", exit_status=1) from error
    return listener


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on; refuse anything else that is in the way."""
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(kind):
        raise StartError(f"socket path {path} exists and is not a socket: remove it or choose another", exit_status=1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise StartError(f"socket path {path} is in use: {error.strerror or error}", exit_status=1) from error
    raise StartError(f"socket path {path} is in use: another process listens there", exit_status=1)
