"""The connections to one Firecracker-shaped socket, and what aiohttp leaves to whoever uses it.

Rules of this file:

* A connection is kept for the next request, as long as ``IDLE_S``; a body has ``BODY_S`` to come, and of an answer
  something must be taken within ``STUCK_S``. So no client has a connection for ever that it does not use.
* One more than ``MAX_CONNECTIONS`` is told so, and closed. Firecracker has ten; its clients make no more of them.
* What is no HTTP, and what is too large, is answered with status 400 like all else, and ends its connection.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError

from ..bounded_connection import MAX_FIELDS, MAX_LINE_BYTES, BoundedConnection, turn_away
from .faults import FaultError

MAX_CONNECTIONS: Final = 32
MAX_BODY_BYTES: Final = 51200
IDLE_S: Final = 600.0
BODY_S: Final = 10.0
STUCK_S: Final = 10.0

_NO_HTTP: Final = (
    "Invalid request. What is due is HTTP/1.1 with a Host, and a header of at most "
    f"{MAX_FIELDS} fields of {MAX_LINE_BYTES} bytes"
)
_HEADERS: Final = {"Server": "Firecracker API"}
_FULL: Final = b'{"fault_message": "Too many open connections"}'
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: Firecracker API\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)

Answer = Callable[[str, str, bytes], Awaitable[Mapping[str, Any] | None]]
"""Takes method, target and body; returns what is shown, or None. It raises a FaultError for what cannot be done."""


class Connections(web.Server):
    """Makes the protocol of each connection, as ``loop.create_server`` wants it, and knows those that there are.

    Args:
        answer: Answers requests.
        most: How many connections there may be.
    """

    def __init__(self, answer: Answer, most: int = MAX_CONNECTIONS) -> None:
        super().__init__(self._handle)
        self.most: Final = most
        self._answer: Final = answer

    def __call__(self) -> "Connection":
        """Make the protocol of a connection."""
        return Connection(self)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        try:
            body = await _read(request)
            shown = await self._answer(request.method, request.raw_path, body)
        except FaultError as fault:
            return _faulty(request, fault)
        except Exception:  # noqa: BLE001 (a defect of ours must not end the connection without a word)
            structlog.get_logger().exception("request failed", method=request.method, path=request.raw_path)
            return _faulty(request, FaultError("Internal Server Error", status=500))
        return _response(request, HTTPStatus.NO_CONTENT) if shown is None else _response(request, HTTPStatus.OK, shown)


class Connection(BoundedConnection):
    """One client's connection."""

    __slots__ = ("_connections",)

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections, idle_s=IDLE_S, stuck_s=STUCK_S, auto_decompress=False)
        self._connections: Final = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read requests, unless there is no room."""
        if len(self._connections.connections) < self._connections.most:
            super().connection_made(transport)
        else:
            turn_away(transport, _REFUSAL)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP; the connection ends with it."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        return _last(request, FaultError(_NO_HTTP))


async def _read(request: web.BaseRequest) -> bytes:
    """Return a request's body.

    Raises:
        FaultError: It is too large, or does not come; then not all of it was read.
    """
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise _too_large(request.content_length)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while len(body) <= MAX_BODY_BYTES and (piece := await request.content.readany()):
                body += piece
    except (web.RequestPayloadError, ConnectionResetError, TimeoutError) as error:
        raise FaultError("Invalid request. Its body did not come, or not as it was announced") from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(len(body))
    return bytes(body)


def _too_large(size: int) -> FaultError:
    return FaultError(
        f"Request payload with size {size} is larger than the limit of {MAX_BODY_BYTES} allowed by server.\n"
        "All previous unanswered requests will be dropped."
    )


def _faulty(request: web.BaseRequest, fault: FaultError) -> web.Response:
    if not request.content.is_eof():
        return _last(request, fault)
    return _response(request, fault.status, {"fault_message": fault.detail})


def _last(request: web.BaseRequest, fault: FaultError) -> web.Response:
    """Return an answer behind which nothing is read any more."""
    answer = _response(request, fault.status, {"fault_message": fault.detail})
    answer.headers["Connection"] = "close"
    answer.force_close()
    return answer


def _response(request: web.BaseRequest, status: int, shown: Mapping[str, Any] | None = None) -> web.Response:
    headers = _HEADERS | ({"Connection": "keep-alive"} if request.keep_alive else {})
    if shown is None:
        return web.Response(status=status, headers=headers)
    body = json.dumps(shown, separators=(",", ":")).encode()
    return web.Response(status=status, headers=headers, body=body, content_type="application/json")
