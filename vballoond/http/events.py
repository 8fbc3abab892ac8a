"""/v1/events: what happens to balloons, as server-sent events with ids and replay.

Rules of this file:

* Whoever comes again with Last-Event-ID is told what it missed. ``events-lost`` says that some of that is gone, so all
  has to be read again.
* Of one balloon where ``?balloon=`` names it; what is lost is said in any case.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from ..events.log import Event, EventLog, SlowListenerError
from .keys import EVENTS
from .server_sent import SlowReaderError, send_events, to_text

MAX_ID_CHARACTERS: Final = 64


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Events as they come, of one balloon where ``?balloon=`` names it, until either end goes."""
    last_id = request.headers.get("Last-Event-ID")
    if last_id is not None:
        last_id = last_id[:MAX_ID_CHARACTERS]
    return await send_events(request, _texts(request.app[EVENTS], last_id, request.query.get("balloon")))


async def _texts(log: EventLog, last_id: str | None, only: str | None) -> AsyncGenerator[str]:
    try:
        async with aclosing(log.listen(last_id)) as events:
            async for event in events:
                if only is None or event.balloon in (only, None):
                    yield _text(event)
    except SlowListenerError as error:
        raise SlowReaderError(str(error)) from error


def _text(event: Event) -> str:
    return to_text(event.kind, event.json, event.id)
