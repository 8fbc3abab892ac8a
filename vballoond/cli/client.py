"""A small client of the API, over TCP or a Unix socket. It waits, so it belongs to the command line only."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

DEFAULT_API: Final = "http://127.0.0.1:8750"
_TIMEOUT_S: Final = 30.0


class ClientError(Exception):
    """The daemon could not be reached, or refused; the message is for the person at the terminal."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered: the status, and the body as bytes."""

    status: int
    body: bytes

    def json(self, *members: str) -> Any:
        """The body as a JSON object that has these members at least.

        Raises:
            ClientError: It is none, so whoever answered is not vballoond.
        """
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not value.keys() >= set(members):
            raise ClientError("what answers there is not vballoond: it sent something else")
        return value


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one daemon.

    ``api`` is ``http://HOST:PORT`` or ``unix:PATH``.
    """

    api: str = DEFAULT_API
    token: str | None = None

    def get(self, path: str) -> Answer:
        """GET ``path``."""
        return self._ask("GET", path, None, {}, _TIMEOUT_S)

    def post(self, path: str) -> Answer:
        """POST nothing to ``path``."""
        return self._ask("POST", path, None, {}, _TIMEOUT_S)

    def patch(self, path: str, body: dict[str, Any], wait_s: float | None = None) -> Answer:
        """PATCH ``path``; wait for the outcome for ``wait_s`` at most where it is given."""
        headers = {} if wait_s is None else {"Prefer": f"wait={wait_s:g}"}
        return self._ask("PATCH", path, body, headers, _TIMEOUT_S + (wait_s or 0))

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], timeout_s: float
    ) -> Answer:
        connection = self._connection(timeout_s)
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        if self.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise ClientError(
                f"no vballoond answers at {self.api}: {error}; start it with 'vballoond serve', or name it with --api"
            ) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise ClientError(_detail(answer))
        return answer

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.api.startswith("unix:"):
            return _UnixConnection(self.api.removeprefix("unix:"), timeout_s)
        try:
            parts = urlsplit(self.api)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or port is None or parts.scheme != "http":
            raise ClientError(f"--api {self.api!r}: write http://HOST:PORT or unix:/path/to/api.sock")
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


def balloon_path(name: str, rest: str = "") -> str:
    """Return the API's path of a balloon."""
    return f"/v1/balloons/{quote(name, safe='')}{rest}"


def read_token_file(path: Path | None) -> str | None:
    """Return the token in ``path``.

    Raises:
        ClientError: The file cannot be read.
    """
    if path is None:
        return None
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read the token file {path}: {error}") from error
    if not token.isprintable() or not token.isascii():
        raise ClientError(f"the token file {path} holds no token: it is one line of printable ASCII characters")
    return token


def _detail(answer: Answer) -> str:
    try:
        return str(answer.json("detail")["detail"])
    except ClientError:
        return f"the daemon answered with status {answer.status}"
