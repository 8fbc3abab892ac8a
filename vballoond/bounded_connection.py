"""A client's connection over HTTP, with what aiohttp leaves to whoever uses it: bounds on time and on what is read.

Rules of this file:

* From an answer, or the connection, to the end of the next request's header a client has ``idle_s``; of an answer that
  does not fit into the socket it must take something within ``stuck_s``.
* Who is let in, and what is said to what is no HTTP, is for those who derive from it.
"""

import asyncio
from typing import Final

from aiohttp import web

MAX_LINE_BYTES: Final = 8192
"""Of the request line, and of each header field."""

MAX_FIELDS: Final = 64
"""Header fields of a request; browsers send some twenty."""


class BoundedConnection(web.RequestHandler):
    """One client's connection.

    Args:
        server: Answers requests.
        idle_s: How long it may wait between requests, header included.
        stuck_s: How long a client may take nothing of an answer.
        auto_decompress: Whether bodies are unpacked.
    """

    __slots__ = ("_stuck", "_stuck_s")

    def __init__(self, server: web.Server, *, idle_s: float, stuck_s: float, auto_decompress: bool = True) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle_s,  # it counts until the next request's header is complete
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_FIELDS,
            auto_decompress=auto_decompress,
        )
        self._stuck_s: Final = stuck_s
        self._stuck: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what it asked for: wait, but not for ever."""
        super().pause_writing()
        self._stuck = asyncio.get_running_loop().call_later(self._stuck_s, self.cut_off)

    def resume_writing(self) -> None:
        """The client took something."""
        self._stop_waiting()
        super().resume_writing()

    def cut_off(self) -> None:
        """End the connection at once, with whatever has not been taken of it."""
        if self.transport is not None:
            self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None


def turn_away(transport: asyncio.BaseTransport, answer: bytes) -> None:
    """Say ``answer`` to a client for whom there is no room, and hear nothing of it."""
    assert isinstance(transport, asyncio.Transport)
    transport.set_protocol(asyncio.Protocol())
    transport.write(answer)
    transport.close()
