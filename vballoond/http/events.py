"""/v1/events: what happens, as server-sent events (WHATWG HTML, section 9.2), with ids and replay.

Rules of this file:

* Whoever comes again with Last-Event-ID is told what it missed. ``events-lost`` says that some of that is gone, so the
  whole has to be read again.
* Nobody is waited for: a reader that takes longer than :data:`PATIENCE_S` for a piece, or is too far behind, is cut off
  and can come again.
* A line that says nothing is sent every :data:`HEARTBEAT_S`, so that both ends find out when the other is gone.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from ..events.log import Event, SlowListenerError
from .keys import EVENTS

HEARTBEAT_S: Final = 15.0
PATIENCE_S: Final = 10.0
_RETRY_MS: Final = 1000
_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def stream(request: web.Request) -> web.StreamResponse:
    """Events as they come, of one balloon where ``?balloon=`` names it, until either end goes."""
    only = request.query.get("balloon")
    response = web.StreamResponse(headers=_HEADERS)
    await response.prepare(request)
    try:
        await _write(response, f"retry: {_RETRY_MS}\n\n")
        async with aclosing(_pieces(request, only)) as pieces:
            async for piece in pieces:
                await _write(response, piece)
    except (ConnectionError, SlowListenerError, TimeoutError):
        # There is nobody to tell: an answer that has begun cannot become an error.
        if request.transport is not None:
            request.transport.abort()
    return response


async def _pieces(request: web.Request, only: str | None) -> AsyncGenerator[str]:
    """Yield events as text, and a heartbeat where none comes."""
    async with aclosing(request.app[EVENTS].listen(request.headers.get("Last-Event-ID"))) as events:
        coming = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_S)
                if not done:
                    yield ": \n\n"
                    continue
                event = coming.result()
                coming = asyncio.ensure_future(anext(events))
                if only is None or event.balloon in (only, None):
                    yield to_text(event)
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await response.write(text.encode())


def to_text(event: Event) -> str:
    """Return an event as it is sent; JSON has no line breaks, so one data line holds it."""
    body = {"at": event.at.isoformat().replace("+00:00", "Z"), "balloon": event.balloon, **event.data}
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n"
