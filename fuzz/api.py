"""The daemon's HTTP API, as a client uses it: a connection for each request, so that none is left over."""

import http.client
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from .finding import Finding
from .front_end import PATIENCE_S


class Answer(NamedTuple):
    """A status, and the JSON that came with it."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Api:
    """The API at ``host`` and ``port``."""

    host: str
    port: int

    def get(self, path: str) -> Any:
        """Return what is at ``path``; anything but a 200 is a :class:`Finding`."""
        answer = self.request("GET", path)
        if answer.status != http.HTTPStatus.OK:
            raise Finding(f"GET {path} is answered {answer.status}: {answer.body}")
        return answer.body

    def set_target(self, name: str, target_bytes: int, *, wait_s: int | None = None) -> Any:
        """Set a target, and wait until it is reached where that is asked for; that it is not is a :class:`Finding`."""
        prefer = {} if wait_s is None else {"Prefer": f"wait={wait_s}"}
        answer = self.request("PATCH", f"/v1/balloons/{name}", {"target_bytes": target_bytes}, prefer)
        if answer.status != (http.HTTPStatus.ACCEPTED if wait_s is None else http.HTTPStatus.OK):
            raise Finding(f"a target of {target_bytes} bytes for {name} is answered {answer.status}: {answer.body}")
        return answer.body

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Return the answer to a request; that there is none is a :class:`Finding`."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=2 * PATIENCE_S)
        given = {"Connection": "close", "Content-Type": "application/json", **(headers or {})}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), given)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Finding(f"{method} {path} is not answered: {error!r}") from error
        finally:
            connection.close()
