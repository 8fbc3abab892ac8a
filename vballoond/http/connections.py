"""The API's connections: how many there are, how long each may take, and what is said to what is no HTTP.

aiohttp reads requests and writes answers. Here is what it leaves to whoever uses it.

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

from .problems import Handler, problem

MAX_CONNECTIONS: Final = 1024
IDLE_S: Final = 60.0
STUCK_S: Final = 60.0
MAX_LINE_BYTES: Final = 8192
"""Of the request line, and of each header field."""

MAX_FIELDS: Final = 64
"""Header fields of a request; browsers send some twenty."""

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


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_stuck", "connections")

    def __init__(self, server: web.Server, connections: Connections) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,  # it counts until the next request's header is complete
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_FIELDS,
        )
        self.connections: Final = connections
        self._stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read requests, unless there is no room."""
        if self.connections.admit(self):
            super().connection_made(transport)
            return
        assert isinstance(transport, asyncio.Transport)
        transport.set_protocol(asyncio.Protocol())
        transport.write(_REFUSAL)
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._stop_waiting()
        self.connections.gone(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what it asked for: wait, but not for ever."""
        super().pause_writing()
        self._stuck = asyncio.get_running_loop().call_later(STUCK_S, self.cut_off)

    def resume_writing(self) -> None:
        """The client took something."""
        self._stop_waiting()
        super().resume_writing()

    def cut_off(self) -> None:
        """End the connection at once, with whatever has not been taken of it."""
        if self.transport is not None:
            self.transport.abort()

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

    def _stop_waiting(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None


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
