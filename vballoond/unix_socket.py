"""Listening on Unix sockets: the API's and those of vhost-user."""

import contextlib
import grp
import os
import socket
import stat
from pathlib import Path
from typing import Final

from .errors import StartError
from .unix_diag import INODE_MASK, bound_inode

_BACKLOG: Final = 128


class UnixListener:
    """A listening socket at ``path``, which nobody can connect to before its mode and group are set.

    A socket that nobody listens on any more is replaced.

    Args:
        path: Where it is found.
        mode: Who may connect.
        group: Whose it is; None: the process's.
        left: The same socket as an earlier process left it, whose descriptor belongs to the listener from now on. It is
            taken over where it is still at ``path``; where it is not, it is closed, and removed from where it is.

    Raises:
        StartError: Exit status 1: somebody listens there, something else is there, or it cannot be made. Nothing is
            left behind.
    """

    def __init__(self, path: Path, *, mode: int, group: str | None = None, left: int | None = None) -> None:
        self.path: Final = path
        self.taken_over: Final = left is not None and _listens_at(left, path)
        if left is not None and self.taken_over:
            self.socket = socket.socket(fileno=left)
            self.socket.setblocking(False)
            self._inode = path.lstat().st_ino
            return
        if left is not None:
            discard(left)
        _clear(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            self.socket.bind(str(path))
        except OSError as error:
            self.socket.close()
            raise StartError(f"cannot listen on socket {path}: {error.strerror or error}", exit_status=1) from error
        self._inode = path.lstat().st_ino
        try:
            # Until listen() a connection is refused, so nobody slips in before the mode is set.
            set_mode_and_group(path, mode, group)
            self.socket.listen(_BACKLOG)
        except StartError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise StartError(f"cannot set up socket {path}: {error.strerror}", exit_status=1) from error

    def close(self) -> None:
        """Listen no more and remove the socket, unless somebody has put another in its place."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()


def set_mode_and_group(path: Path, mode: int, group: str | None) -> None:
    """Say who may connect to the socket at ``path``; None: the group stays.

    Raises:
        StartError: Exit status 1: there is no such group, or this process may not give it.
    """
    try:
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(mode)
    except (OSError, KeyError) as error:
        why = f"there is no group {group!r} on this host" if isinstance(error, KeyError) else error.strerror
        raise StartError(f"cannot set up socket {path}: {why}", exit_status=1) from error


def discard(left: int) -> None:
    """Close a listening socket that an earlier process left, and remove it from its path, if it is still there."""
    path = _path_of(left)
    if path is not None and _listens_at(left, path):
        with contextlib.suppress(OSError):
            path.unlink()
    os.close(left)


def _listens_at(fd: int, path: Path) -> bool:
    """Say whether ``fd`` is the socket that is found at ``path``: one that is connected to there is heard here."""
    if _path_of(fd) != path:
        return False
    try:
        found = path.lstat()
    except OSError:
        return False
    # Somebody may have removed it and made another one.
    inode = bound_inode(fd)
    return stat.S_ISSOCK(found.st_mode) and inode in (None, found.st_ino & INODE_MASK)


def _path_of(fd: int) -> Path | None:
    """Return where ``fd`` listens; None: it is no socket that does, or not at a path."""
    try:
        listener = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        name = listener.getsockname() if listening and listener.family == socket.AF_UNIX else ""
        return Path(name) if name and isinstance(name, str) else None
    except OSError:
        return None
    finally:
        listener.detach()


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
