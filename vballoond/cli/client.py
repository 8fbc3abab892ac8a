"""A small client of the API, over TCP or a Unix socket. It waits, so it belongs to the command line only.

Rules of this file:

* What goes wrong is a :class:`ClientError`: one sentence that says what and where, and what to do next.
* An answer is the daemon's only if it looks so: anything else may listen on a port.
"""

import http.client
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from .advice import advice
from .connection import SILENCE_S, Stream, connection_to

DEFAULT_API: Final = "http://127.0.0.1:8750"
TIMEOUT_S: Final = 30.0


class ClientError(Exception):
    """What was asked for cannot be had; the message is for the person at the terminal.

    Args:
        message: What went wrong, and where.
        next_step: What to do about it, as a sentence without its end; "" where nobody can know.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step: Final = next_step


class UnreachableError(ClientError):
    """Nobody answers, or the answer was cut off."""


class RefusedError(ClientError):
    """The daemon said no: ``status`` is HTTP's, ``problem`` its report."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        message = str(problem.get("detail", f"the daemon answered with status {status}"))
        super().__init__(message, advice(status, problem))
        self.status: Final = status
        self.problem: Final = problem

    @property
    def code(self) -> str:
        """The problem's name for scripts; "" if it has none."""
        return str(self.problem.get("code", ""))


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered: the status, the body as bytes, and the headers, whose names are in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    def json(self, *members: str) -> Any:
        """The body as a JSON object that has these members at least.

        Raises:
            ClientError: It is none, so whoever answered is not vballoond.
        """
        value = json_object(self.body)
        if value is None or not value.keys() >= set(members):
            raise ClientError("what answers there is not vballoond: it sent something else", "name another with --api")
        return value

    def number(self, header: str) -> int:
        """The whole number in a header.

        Raises:
            ClientError: There is none, so whoever answered is not vballoond, or is an older one.
        """
        text = self.headers.get(header.lower(), "")
        if not (text.isascii() and text.isdigit()):
            raise ClientError(f"the daemon's answer has no {header}: it may be older than this command")
        return int(text)


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to one daemon.

    ``api`` is ``http://HOST:PORT`` or ``unix:PATH``; ``timeout_s`` is how long an answer may take.
    """

    api: str = DEFAULT_API
    token: str | None = None
    timeout_s: float = TIMEOUT_S

    def get(self, path: str, wait_s: float | None = None) -> Answer:
        """GET ``path``; wait for the outcome for ``wait_s`` at most where it is given."""
        return self._ask("GET", path, None, _preference(wait_s), self.timeout_s + (wait_s or 0))

    def post(self, path: str, body: dict[str, Any] | None = None) -> Answer:
        """POST ``body``, or nothing, to ``path``."""
        return self._ask("POST", path, body, {}, self.timeout_s)

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        """PUT ``body`` to ``path``."""
        return self._ask("PUT", path, body, {}, self.timeout_s)

    def delete(self, path: str) -> Answer:
        """DELETE ``path``."""
        return self._ask("DELETE", path, None, {}, self.timeout_s)

    def patch(self, path: str, body: dict[str, Any], wait_s: float | None = None) -> Answer:
        """PATCH ``path``; wait for the outcome for ``wait_s`` at most where it is given."""
        return self._ask("PATCH", path, body, _preference(wait_s), self.timeout_s + (wait_s or 0))

    def stream(self, path: str, last_event_id: str = "") -> Stream:
        """GET ``path``, whose body goes on, behind the event that was seen last.

        Raises:
            RefusedError: It is not to be had.
            UnreachableError: Nobody answers.
        """
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        connection = self._connection(self.timeout_s)
        try:
            connection.connect()
            connection.sock.settimeout(SILENCE_S)
            connection.request("GET", path, None, self._headers(headers))
            stream = Stream(connection)
            if stream.status == 200:
                return stream
            answer = Answer(stream.status, stream.rest())
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        stream.release()
        raise refusal(answer)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str], timeout_s: float
    ) -> Answer:
        connection = self._connection(timeout_s)
        if body is not None:
            headers = {**headers, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, self._headers(headers))
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            answer = Answer(response.status, response.read(), fields)
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise refusal(answer)
        return answer

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return headers if self.token is None else {**headers, "Authorization": f"Bearer {self.token}"}

    def _unreachable(self, error: Exception) -> UnreachableError:
        if isinstance(error, PermissionError):
            step = f"ask for the group of {self.api.removeprefix('unix:')} (http.socket_group in the configuration)"
            return UnreachableError(f"you may not connect to {self.api}: {error.strerror}", step)
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnreachableError(
            f"no vballoond answers at {self.api}: {reason}",
            "start it with 'vballoond serve', or name it with --api or VBALLOOND_API",
        )

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        try:
            return connection_to(self.api, timeout_s)
        except ValueError as error:
            raise ClientError(f"--api {self.api!r}: {error}") from error


def balloon_path(name: str, rest: str = "") -> str:
    """Return the API's path of a balloon."""
    return f"/v1/balloons/{quote(name, safe='')}{rest}"


def events_path(name: str | None) -> str:
    """Return the API's path of the events of one balloon, or of all."""
    return "/v1/events" if name is None else f"/v1/events?balloon={quote(name, safe='')}"


def json_object(text: bytes | str) -> dict[str, Any] | None:
    """Return the JSON object that is written there; None if it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _preference(wait_s: float | None) -> dict[str, str]:
    """Write how long to wait in whole milliseconds: a daemon does not read 1e-05."""
    return {} if wait_s is None else {"Prefer": f"wait={round(wait_s, 3):g}"}


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


def refusal(answer: Answer) -> RefusedError:
    """Return the error for an answer that is one."""
    return RefusedError(answer.status, json_object(answer.body) or {})
