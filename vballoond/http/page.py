"""/: where to go from here."""

from typing import Final

from aiohttp import web

_POLICY: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>vballoond</title></head>
<body>
<h1>vballoond</h1>
<ul>
<li><a href="/v1/balloons">Balloons</a></li>
<li><a href="/openapi.json">The API, as OpenAPI 3.1</a></li>
<li><a href="/healthz">Alive?</a> <a href="/readyz">Ready?</a></li>
</ul>
</body>
</html>
"""


async def show_links(request: web.Request) -> web.Response:
    """A plain page of links."""
    del request
    return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY})
