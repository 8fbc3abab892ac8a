"""The API's connections: how many there are, how long each may take, and what is said to what is no HTTP.

aiohttp reads requests and writes answers, within the time that ``bounded_connection`` gives.

Rules of this file:

* A client never has more than a bounded time: ``IDLE_S`` from an answer, or the connection, to the end of the next
  request's header; ``guards.BODY_S`` for a body; ``STUCK_S`` to take something of an answer that does not fit into the
  socket. What it waits for itself (``Prefer: wait``, event streams) is not bounded here.
* Of ``MAX_CONNECTIONS`` connections the one that has been waiting for a request for longest makes room for a new one.
  Only where each is being answered is the new one refused, with a 503.
* What a client sent is never logged or sent back from here: it may hold a token.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong

from ..bounded_connection import MAX_FIELDS, MAX_LINE_BYTES, BoundedConnection, turn_away
from .problems import Handler, problem

MAX_CONNECTIONS: Final = 1024
IDLE_S: Final = 60.0
STUCK_S: Final = 60.0
_TOO_MANY: Final = "Too many"  # how the parser's message begins where there are too many fields
_BODY: Final = b'{"type":"about:blank","title":"Service Unavailable","status":503,"code":"too-many-connections",'
_DETAIL: Final = b'"detail":"every connection that the API has is being answered; try again later"}'
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    b"Retry-After: 1\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY + _DETAIL), _BODY + _DETAIL)
)


class Connections:
    """The connections that there are. Called, it makes the protocol of a new one, as ``loop.create_server`` wants it.

    Args:
        server: Answers requests.
        most: How many there may be.
    """

    def __init__(self, server: web.Server, most: int = MAX_CONNECTIONS) -> None:
        self._server: Final = server
        self._most: Final = most
        self._idle: Final[dict[Connection, None]] = {}  # those that wait for a request, for longest first
        self._busy: Final[set[Connection]] = set()

    def __call__(self) -> "Connection":
        """Make the protocol of a connection, which counts once it is made."""
        return Connection(self._server, self)

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def admit(self, connection: "Connection") -> bool:
        """Count a new connection, if need be in the place of another; say whether there is room."""
        if len(self) >= self._most:
            longest = next(iter(self._idle), None)
            if longest is None:
                return False
            del self._idle[longest]
            longest.cut_off()
        self._idle[connection] = None
        return True

    def begin(self, connection: "Connection") -> None:
        """It is being answered from now on, if it is still there."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy.add(connection)

    def end(self, connection: "Connection") -> None:
        """It has its answer, and waits for a request from now on."""
        if connection in self._busy:
            self._busy.remove(connection)
            self._idle[connection] = None

    def gone(self, connection: "Connection") -> None:
        """It is there no more."""
        self._busy.discard(connection)
        self._idle.pop(connection, None)


class Connection(BoundedConnection):
    """One client's connection."""

    __slots__ = ("connections",)

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(server, idle_s=IDLE_S, stuck_s=STUCK_S)
        self.connections: Final = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read requests, unless there is no room."""
        if self.connections.admit(self):
            super().connection_made(transport)
        else:
            turn_away(transport, _REFUSAL)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self.connections.gone(self)
        super().connection_lost(exc)

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP, or more than is read, with a problem report; the connection ends with it."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        structlog.get_logger().info("a request came to nothing", reason=type(exc).__name__)
        answer = _explain(exc)
        answer.force_close()
        return answer


def _explain(error: HttpProcessingError) -> web.Response:
    if isinstance(error, LineTooLong) or error.message.startswith(_TOO_MANY):
        detail = f"a request has {MAX_FIELDS} header fields at most, and its lines {MAX_LINE_BYTES} bytes"
        return problem(431, "header-too-large", detail)
    return problem(400, "not-http", "what came is no HTTP/1.1 request")


@web.middleware
async def count_as_busy(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A connection is busy while one of its requests is being answered."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.connections.begin(connection)
    try:
        return await handler(request)
    finally:
        connection.connections.end(connection)


class Edge(web.BaseSite):
    """Where connections come in: a listening socket, and the bounds on what comes."""

    def __init__(self, runner: web.AppRunner, listener: Any, make: Callable[..., Connections] = Connections) -> None:
        super().__init__(runner)
        assert runner.server is not None
        self.connections: Final = make(runner.server)
        self._listener: Final = listener

    @property
    def name(self) -> str:
        """What it listens on, for people."""
        return str(self._listener.getsockname())

    async def start(self) -> None:
        """Answer from now on."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.connections, sock=self._listener, backlog=self._backlog)
