"""What an earlier process left of balloons, found again by the names that its descriptors have with the holder.

    NAME/listen         the socket that a balloon listens on
    NAME/SERIAL/WHAT    of the connection of that number: its fixtures by what they are, all else by a number

Of a balloon's connections the newest that has its socket counts; all others are closed, and so is what has none of
these names.
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

_LISTEN: Final = "listen"
_CONNECTION_NAME: Final = re.compile(r"(?P<balloon>[^/]+)/(?P<serial>[1-9][0-9]{0,17})/(?P<what>[a-z0-9]+)")


def listener_name(balloon: str) -> str:
    """Return by which name the holder has a balloon's listening socket."""
    return f"{balloon}/{_LISTEN}"


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

    def close(self) -> None:
        """Close all that there is."""
        fixtures = (self.connection, self.state, self.reply)
        close_all(fd for fd in (*fixtures, *(self.others or {}).values()) if fd is not None)


@dataclass(frozen=True, slots=True)
class LeftBalloon:
    """What was left of one balloon: its listening socket, and its newest connection."""

    listener: int | None = None
    connection: LeftConnection | None = None
    last_serial: int = 0
    stale: tuple[str, ...] = ()
    """The names that the holder need not have any more."""
    names: tuple[str, ...] = ()
    """All names by which the holder has something of it."""

    def close(self) -> None:
        """Close all that there is."""
        if self.listener is not None:
            close_all([self.listener])
        if self.connection is not None:
            self.connection.close()


def sort_out(inherited: Mapping[str, int]) -> dict[str, LeftBalloon]:
    """Return what was left, by balloon. Every descriptor is in the result, or closed."""
    balloons: dict[str, dict[int, dict[str, int]]] = {}
    listeners: dict[str, int] = {}
    nobodys: list[int] = []
    for name, fd in inherited.items():
        match = _CONNECTION_NAME.fullmatch(name)
        if match:
            connections = balloons.setdefault(match["balloon"], {})
            connections.setdefault(int(match["serial"]), {})[match["what"]] = fd
        elif name.endswith(f"/{_LISTEN}"):
            listeners[name.removesuffix(f"/{_LISTEN}")] = fd
        else:
            nobodys.append(fd)
    close_all(nobodys)
    names = sorted(balloons.keys() | listeners.keys())
    return {name: _left(name, listeners.get(name), balloons.get(name, {})) for name in names}


def _left(balloon: str, listener: int | None, connections: Mapping[int, dict[str, int]]) -> LeftBalloon:
    newest = max((serial for serial, whats in connections.items() if _is_whole(whats)), default=0)
    stale: list[str] = []
    for serial, whats in connections.items():
        if serial != newest:
            close_all(whats.values())
            stale += [f"{connection_prefix(balloon, serial)}{what}" for what in whats]
    connection = _connection(balloon, newest, connections[newest]) if newest else None
    whole = [f"{connection_prefix(balloon, newest)}{what}" for what in connections.get(newest, ())]
    names = (*stale, *whole, *([] if listener is None else [listener_name(balloon)]))
    return LeftBalloon(listener, connection, max(connections, default=0), tuple(stale), names)


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
