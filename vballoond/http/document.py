"""/openapi.json: the document of this API."""

from typing import Any, Final

from aiohttp import web

DOCUMENT: Final[web.AppKey[dict[str, Any]]] = web.AppKey("document")


async def show_document(request: web.Request) -> web.Response:
    """This API as an OpenAPI 3.1 document."""
    return web.json_response(request.app[DOCUMENT])
