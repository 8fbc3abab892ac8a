"""Server-sent events (WHATWG HTML, section 9.2), as every stream of the API sends them.

Rules of this file:

* Nobody is waited for: a reader that takes longer than :data:`PATIENCE_S` for a piece is cut off and can come again.
  What is under way to it meanwhile is bounded by what the connection buffers and one piece.
* A line that says nothing is sent every :data:`HEARTBEAT_S`, so that both ends find out when the other is gone.
* There are :data:`MAX_STREAMS` at a time at most, and all end when the API does: none holds up a restart.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from aiohttp import web

from ..errors import OperatorError

MEDIA: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
PATIENCE_S: Final = 10.0
MAX_STREAMS: Final = 256
"""A page has two open; each costs some ten KiB, and up to a piece and two socket buffers where its reader is slow."""

_RETRY_MS: Final = 1000
_HEARTBEAT: Final = ": \n\n"
_HEADERS: Final = {"Content-Type": MEDIA, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class SlowReaderError(Exception):
    """Raised by who makes events: the reader is too far behind, and is to be cut off."""


class Streams:
    """The streams that are open in an application."""

    def __init__(self) -> None:
        self.open = 0
        self.ending: Final = asyncio.Event()


STREAMS: Final = web.AppKey("streams", Streams)


def allow_streams(app: web.Application) -> None:
    """Have ``app`` able to send events; its shutdown ends all streams."""
    app[STREAMS] = Streams()

    async def end(app: web.Application) -> None:
        app[STREAMS].ending.set()

    app.on_shutdown.append(end)


def to_text(kind: str, data: Mapping[str, Any] | str, event_id: str | None = None) -> str:
    """Return an event as it is sent. JSON has no line breaks, so one data line holds it.

    Args:
        kind: What ``addEventListener`` names.
        data: Plain JSON data, or what of it is JSON already.
        event_id: What a reader that comes again says in Last-Event-ID; None leaves its last one as it is.
    """
    body = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    line = "" if event_id is None else f"id: {event_id}\n"
    return f"{line}event: {kind}\ndata: {body}\n\n"


async def send_events(request: web.Request, events: AsyncGenerator[str]) -> web.StreamResponse:
    """Answer with ``events``, texts of whole events, until they end, the reader goes, or the API does.

    ``events`` is closed in the end, whatever happens. A HEAD request gets the headers and no event.

    Raises:
        OperatorError: There are too many streams; 503.
    """
    streams = request.app[STREAMS]
    async with aclosing(events):
        if streams.open >= MAX_STREAMS:
            raise OperatorError(
                f"{MAX_STREAMS} streams are open, which is the most: close one", status=503, code="too-many-streams"
            )
        streams.open += 1
        try:
            return await _send(request, events, streams.ending)
        finally:
            streams.open -= 1


async def _send(request: web.Request, events: AsyncGenerator[str], ending: asyncio.Event) -> web.StreamResponse:
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    try:
        await _write(response, f"retry: {_RETRY_MS}\n\n")
        async with aclosing(with_heartbeat(events, ending)) as pieces:
            async for piece in pieces:
                await _write(response, piece)
    except (ConnectionError, SlowReaderError, TimeoutError):
        # There is nobody to tell: an answer that has begun cannot become an error.
        if request.transport is not None:
            request.transport.abort()
    return response


async def with_heartbeat(events: AsyncGenerator[str], ending: asyncio.Event) -> AsyncGenerator[str]:
    """Yield ``events``, and a heartbeat where none comes for long, until they end or ``ending`` is set."""
    ended = asyncio.ensure_future(ending.wait())
    coming = _next(events)
    try:
        while True:
            await asyncio.wait({coming, ended}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return
            if not coming.done():
                yield _HEARTBEAT
                continue
            try:
                piece = coming.result()
            except StopAsyncIteration:
                return
            yield piece
            coming = _next(events)
    finally:
        coming.cancel()
        ended.cancel()
        await asyncio.gather(coming, ended, return_exceptions=True)


def _next(events: AsyncGenerator[str]) -> "asyncio.Task[str]":
    async def following() -> str:
        return await anext(events)

    return asyncio.ensure_future(following())


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await response.write(text.encode())
