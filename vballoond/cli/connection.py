"""Connections to the API, and bodies that go on."""

import contextlib
import http.client
import socket
from typing import Final
from urllib.parse import urlsplit

SILENCE_S: Final = 45.0
"""A stream that says nothing for so long is dead: the daemon sends a sign of life every 15 s."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Stream:
    """A body that goes on: what has come so far can be read while more is to come."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection: Final = connection
        self._socket: Final = connection.sock
        self._response: Final = connection.getresponse()
        self.status: Final = self._response.status

    def read(self) -> bytes:
        """Return what comes next, b"" at the end.

        Raises:
            OSError: The connection is dead, or nothing has come for :data:`SILENCE_S`.
            http.client.HTTPException: It was cut off.
        """
        return self._response.read1(1 << 16)

    def rest(self) -> bytes:
        """Return all of a body that ends."""
        return self._response.read()

    def close(self) -> None:
        """End the connection, and with it a :meth:`read` that another thread is in."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give up the connection; only the thread that reads may do that."""
        self._response.close()
        self._connection.close()
        self._socket.close()


def connection_to(api: str, timeout_s: float) -> http.client.HTTPConnection:
    """Return a connection, not opened yet, to ``http://HOST:PORT`` or ``unix:PATH``.

    Raises:
        ValueError: It is neither.
    """
    if api.startswith("unix:"):
        return _UnixConnection(api.removeprefix("unix:"), timeout_s)
    try:
        parts = urlsplit(api)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or parts.scheme != "http":
        raise ValueError("write http://HOST:PORT or unix:/path/to/api.sock")
    return http.client.HTTPConnection(host, port, timeout=timeout_s)
