"""HTTP that is none, and requests of the API that are wrong or come at a bad time.

Whatever comes, the daemon never answers that it failed itself.
"""

import contextlib
import json
import re
import socket
from collections.abc import Sequence
from random import Random
from typing import Final

from .api import Api
from .finding import Finding
from .front_end import PATIENCE_S
from .numbers import number, scribbled
from .worker import Note

_METHODS: Final = ("GET", "GET", "GET", "PATCH", "PATCH", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "BREW", "")
_PATHS: Final = (
    *("/v1/balloons", "/v1/balloons/{}", "/v1/balloons/{}", "/v1/balloons/{}/frames", "/v1/balloons/{}/frames"),
    *("/v1/balloons/{}/statistics", "/v1/balloons/{}/hinting", "/healthz", "/readyz", "/", "/openapi.json"),
    *(
        "/v1/balloons/%00%ff",
        "/v1/balloons/%ED%A0%80/frames",
        "//",
        "/../..",
        "*",
        "http://[",
        "/\u00e9",
        "/v1/balloons/",
    ),
)
_KEYS: Final = ("first", "count", "width", "format", "state", "first", "x")
_VALUES: Final = (
    "",
    "ranges",
    "png",
    "bitmap",
    "ballooned",
    "free,huge",
    "\u00b2",
    "-1",
    "1e9",
    "%",
    "%ff",
    "0x10",
    "+1",
)
_FIELDS: Final = ("target_mib", "target_bytes", "interval_s", "acknowledge_on_stop", "x", "\ud800")
_SCALARS: Final[tuple[object, ...]] = (
    *(1, 0, -1, 2.5, 0.1, 1e308, 10**400, float("inf"), float("nan"), True, None, "1"),
    *([], {}),
)
_HEADERS: Final = (
    *("Prefer: wait=0", "Prefer: wait=1", "Prefer: wait=1e3", "Prefer: wait=\u0663", "Prefer: wait", "Prefer: ,,=;"),
    *("Content-Type: application/json", "Content-Type: text/plain", "Content-Type: application/json; charset=utf-99"),
    *("Content-Encoding: gzip", "Content-Encoding: deflate", "Transfer-Encoding: chunked", "Expect: 100-continue"),
    *(
        "Expect: nothing",
        "Upgrade: websocket",
        "Connection: upgrade",
        "Range: bytes=0-",
        "Accept: */*;q=x",
        "Cookie: ==;",
    ),
    *("Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999", "Host: elsewhere", "Host: [", "Host:"),
    *(
        "Authorization: Bearer",
        "Authorization: \u00ff",
        "If-None-Match: *",
        "no colon",
        ": empty",
        "X-Long: " + "x" * 9000,
    ),
)
_ALLOWED: Final = frozenset({503, 501, 505})
"""What a server may say that is about the request or the guest, though its number begins with 5."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_PATIENCE_S: Final = 0.3


class Requests:
    """Sends them: changes to the balloons named ``mutable``, questions about the others too."""

    def __init__(self, name: str, api: Api, mutable: Sequence[str], others: Sequence[str]) -> None:
        self.name: Final = name
        self._api: Final = api
        self._mutable: Final = mutable
        self._others: Final = others

    def step(self, random: Random, note: Note) -> None:
        """Send a request or a few on one connection, and look at what comes back."""
        with socket.create_connection((self._api.host, self._api.port), PATIENCE_S) as connection:
            due = True
            for _ in range(random.choice((1, 1, 1, 3))):
                data, whole = self._request(random)
                due = due and whole
                note(repr(data[:300]))
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
            if random.random() < 0.1:
                return
            answers = _answers(connection, patient=due)
        wrong = [status for status in answers if status >= 500 and status not in _ALLOWED]
        if wrong:
            raise Finding(f"a request is answered {wrong[0]}")
        if due and not answers:
            raise Finding("a whole request is not answered")

    def rest(self) -> None:
        """A step leaves nothing behind."""

    def _request(self, random: Random) -> tuple[bytes, bool]:
        """Return a request, and whether it is one, so that an answer is due."""
        method = random.choice(_METHODS)
        reading = method in {"GET", "HEAD", "OPTIONS"}
        name = random.choice((*self._mutable, *self._others, "nobody") if reading else (*self._mutable, "nobody"))
        path = random.choice(_PATHS).replace("{}", name)
        if random.random() < 0.4:
            path += "?" + "&".join(_parameter(random) for _ in range(random.randrange(4)))
        body = _body(random) if not reading or random.random() < 0.1 else b""
        headers = random.choices(_HEADERS, k=random.choice((0, 0, 0, 1, 1, 2, 300)))
        usual = [f"Host: {self._api.host}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        kept = [header for header in usual if random.random() < 0.95]
        version = random.choice(("HTTP/1.1",) * 9 + ("HTTP/1.0",))
        lines = "\r\n".join((f"{method} {path} {version}", *kept, *headers))
        data = f"{lines}\r\n\r\n".encode("utf-8", "surrogatepass") + body
        if random.random() < 0.15:
            return scribbled(random, data), False
        return data, kept == usual and not headers


def _parameter(random: Random) -> str:
    value = random.choice((*_VALUES, str(number(random, 64)), "9" * random.choice((20, 5000))))
    return f"{random.choice(_KEYS)}={value}"


def _body(random: Random) -> bytes:
    """Return JSON that is right, wrong or none."""
    match random.randrange(6):
        case 0:
            return random.choice((b"[" * 50_000, b'{"a":' * 5000, b"NaN", b"[]", b"\xff\xfe", b"{}" * 9, b"1" * 70_000))
        case 1:
            return scribbled(random, json.dumps({"target_mib": 1}).encode())
    fields = random.choices(_FIELDS, k=random.choice((1, 1, 1, 2, 3)))
    return json.dumps({field: random.choice((*_SCALARS, number(random, 64))) for field in fields}).encode()


def _answers(connection: socket.socket, *, patient: bool) -> list[int]:
    """Return the statuses that come back, as far as they can be made out; that none comes where one is due is wrong."""
    connection.settimeout(PATIENCE_S if patient else _PATIENCE_S)
    data = b""
    with contextlib.suppress(OSError):
        while piece := connection.recv(1 << 16):
            data = data[-20:] + piece
            if _STATUS.search(data):
                break
    return [int(status) for status in _STATUS.findall(data)]
