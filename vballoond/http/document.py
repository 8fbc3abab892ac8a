"""/openapi.json: the document of this API."""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

from .keys import OFFLOAD

Document = Callable[[], dict[str, Any]]
"""Makes it: that takes too long for a start, for which guests wait, and for the event loop."""

DOCUMENT: Final[web.AppKey[Document]] = web.AppKey("document")


async def show_document(request: web.Request) -> web.Response:
    """This API as an OpenAPI 3.1 document."""
    return web.json_response(await request.app[OFFLOAD].run(request.app[DOCUMENT]))
