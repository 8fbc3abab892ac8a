"""What an earlier process left of balloons, found again by the names that its descriptors have with the holder.

    NAME/listen         the socket that a balloon listens on
    NAME/firecracker    the socket of its Firecracker-shaped API
    NAME/SERIAL/WHAT    of the connection of that number: its fixtures by what they are, all else by a number

Every connection that has its socket goes on, since closing one can cost a VM its life. A balloon has one connection of
its own at most, the newest that is not retired; the others are seen off. What has none of these names is closed, and so
is what belongs to a connection without its socket.
"""

import fcntl
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...errors import StateError
from ...state.guest_file import GuestFile, make_guest_file
from .backend import Fixtures
from .channel import open_staging
from .descriptors import close_all
from .keeping import CONNECTION, REPLY, STATE
from .kept import KeptConnection

_LISTEN: Final = "listen"
_FIRECRACKER: Final = "firecracker"
_CONNECTION_NAME: Final = re.compile(r"(?P<balloon>[^/]+)/(?P<serial>[1-9][0-9]{0,17})/(?P<what>[a-z0-9]+)")


def listener_name(balloon: str) -> str:
    """Return by which name the holder has a balloon's listening socket."""
    return f"{balloon}/{_LISTEN}"


def firecracker_name(balloon: str) -> str:
    """Return by which name the holder has the listening socket of a balloon's Firecracker-shaped API."""
    return f"{balloon}/{_FIRECRACKER}"


def connection_prefix(balloon: str, serial: int) -> str:
    """Return with what the names of a connection begin."""
    return f"{balloon}/{serial}/"


@dataclass(frozen=True, slots=True)
class LeftConnection:
    """A connection to go on with, or a new one, which has nothing yet.

    Attributes:
        serial: Its number, among those of its balloon.
        connection: Its socket.
        state: Its state, if it was left.
        reply: The pipe in which its answers are staged, if it was left.
        others: All else, by the holder's names; None for a new connection.
    """

    serial: int
    connection: int
    state: int | None = None
    reply: int | None = None
    others: Mapping[str, int] | None = None

    def fixtures(self) -> Fixtures:
        """Return its descriptors, with new ones in the place of those that are missing or none.

        Raises:
            OSError: A new one cannot be had; all are still the connection's own.
        """
        state = self.state if self.state is not None and _is_guest_file(self.state) else make_guest_file()
        reply = self.reply
        try:
            if reply is None or not _is_staging(reply):
                reply = open_staging()
        except OSError:
            if state != self.state:
                os.close(state)
            raise
        close_all(fd for fd in (self.state, self.reply) if fd is not None and fd not in (state, reply))
        return Fixtures(self.connection, state, reply)

    def kept(self) -> KeptConnection:
        """Return what was written down of it.

        Raises:
            StateError: That is nothing, or cannot be used.
        """
        if self.state is None:
            raise StateError("no state was kept")
        file = GuestFile(self.state)
        try:
            return KeptConnection.from_json(file.read())
        finally:
            file.close()

    def is_retired(self) -> bool:
        """Say whether it was only seen off, as far as is known."""
        try:
            return self.kept().retired
        except StateError:
            return False

    def names(self, balloon: str) -> tuple[str, ...]:
        """Return all names by which the holder has something of it."""
        fixtures = {CONNECTION: self.connection, STATE: self.state, REPLY: self.reply}
        prefix = connection_prefix(balloon, self.serial)
        return (*(f"{prefix}{what}" for what, fd in fixtures.items() if fd is not None), *(self.others or ()))

    def close(self) -> None:
        """Close all that there is."""
        fixtures = (self.connection, self.state, self.reply)
        close_all(fd for fd in (*fixtures, *(self.others or {}).values()) if fd is not None)


@dataclass(frozen=True, slots=True)
class LeftBalloon:
    """What was left of one balloon.

    Attributes:
        listener: Its listening socket.
        connection: Its own connection.
        retired: Those that are seen off.
        last_serial: The largest number of a connection that the holder may have.
        stale: The names that the holder need not have any more.
        firecracker: The listening socket of its Firecracker-shaped API.
    """

    listener: int | None = None
    connection: LeftConnection | None = None
    retired: tuple[LeftConnection, ...] = ()
    last_serial: int = 0
    stale: tuple[str, ...] = ()
    firecracker: int | None = None

    def close(self) -> None:
        """Close all that there is."""
        close_all(fd for fd in (self.listener, self.firecracker) if fd is not None)
        for connection in (self.connection, *self.retired):
            if connection is not None:
                connection.close()


def sort_out(inherited: Mapping[str, int]) -> dict[str, LeftBalloon]:
    """Return what was left, by balloon. Every descriptor is in the result, or closed."""
    balloons: dict[str, dict[int, dict[str, int]]] = {}
    listeners: dict[str, int] = {}
    firecrackers: dict[str, int] = {}
    nobodys: list[int] = []
    for name, fd in inherited.items():
        match = _CONNECTION_NAME.fullmatch(name)
        if match:
            connections = balloons.setdefault(match["balloon"], {})
            connections.setdefault(int(match["serial"]), {})[match["what"]] = fd
        elif name.endswith(f"/{_LISTEN}"):
            listeners[name.removesuffix(f"/{_LISTEN}")] = fd
        elif name.endswith(f"/{_FIRECRACKER}"):
            firecrackers[name.removesuffix(f"/{_FIRECRACKER}")] = fd
        else:
            nobodys.append(fd)
    close_all(nobodys)
    return {
        name: _left(name, listeners.get(name), firecrackers.get(name), balloons.get(name, {}))
        for name in sorted(balloons.keys() | listeners.keys() | firecrackers.keys())
    }


def _left(
    balloon: str, listener: int | None, firecracker: int | None, connections: Mapping[int, dict[str, int]]
) -> LeftBalloon:
    stale: list[str] = []
    whole: list[LeftConnection] = []
    for serial, whats in sorted(connections.items()):
        if _is_whole(whats):
            whole.append(_connection(balloon, serial, whats))
        else:
            close_all(whats.values())
            stale += [f"{connection_prefix(balloon, serial)}{what}" for what in whats]
    own = next((connection for connection in reversed(whole) if not connection.is_retired()), None)
    return LeftBalloon(
        listener,
        own,
        tuple(connection for connection in whole if connection is not own),
        max(connections, default=0),
        tuple(stale),
        firecracker,
    )


def _connection(balloon: str, serial: int, whats: Mapping[str, int]) -> LeftConnection:
    prefix = connection_prefix(balloon, serial)
    others = {f"{prefix}{what}": fd for what, fd in whats.items() if what not in (CONNECTION, STATE, REPLY)}
    return LeftConnection(serial, whats[CONNECTION], whats.get(STATE), whats.get(REPLY), others)


def _is_whole(whats: Mapping[str, int]) -> bool:
    """Say whether a connection has its socket."""
    return CONNECTION in whats and stat.S_ISSOCK(os.fstat(whats[CONNECTION]).st_mode)


def _is_guest_file(fd: int) -> bool:
    try:
        GuestFile(fd).close()
    except StateError:
        return False
    return True


def _is_staging(fd: int) -> bool:
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return stat.S_ISFIFO(os.fstat(fd).st_mode) and access == os.O_RDWR
