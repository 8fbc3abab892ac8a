"""/ and /page/*: the page that people look at, from files as they are.

Rules of this room:

* The files in ``static`` are what a browser gets: no build step, nothing from elsewhere, no script in the HTML.
* They tell nothing of any guest, so they need no token. What they show they read from the API, as anybody would.
* Modules are small, each for one concept; what can be computed without a document is in pure functions.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from aiohttp import web

from ...errors import OperatorError

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What a browser may do with the page: load its own files, ask this daemon, and nothing else."""

_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, and asked after each time: another version of the daemon has other files.
    "Cache-Control": "no-cache",
}
MEDIA: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""The content types of the page's files."""


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, and the ETag of what is in it."""

    body: bytes
    media: str
    etag: str

    def answer(self, request: web.Request) -> web.Response:
        """Answer with it; with 304 where the browser has it."""
        known = any(tag.value in (self.etag, "*") for tag in request.if_none_match or ())
        response = web.Response(status=304) if known else web.Response(body=self.body)
        if not known:
            response.content_type, response.charset = self.media, "utf-8"
        response.headers.update(_HEADERS)
        response.etag = self.etag
        return response


def _page_files() -> Iterator[tuple[str, PageFile]]:
    for file in files(__name__).joinpath("static").iterdir():
        media = MEDIA.get(file.name[file.name.rfind(".") :])
        if media is not None:
            body = file.read_bytes()
            yield file.name, PageFile(body, media, hashlib.sha256(body).hexdigest()[:16])


FILES: Final = dict(_page_files())
"""By name; read once, when the daemon starts."""

OPEN_PATHS: Final = frozenset({"/", "/page/{name}", *(f"/page/{name}" for name in FILES)})
"""Where they are, and the path by which the table of routes names them all."""


async def show_page(request: web.Request) -> web.Response:
    """The page for people: every balloon, its sizes, its frames, and what happens."""
    return FILES["index.html"].answer(request)


async def show_file(request: web.Request) -> web.Response:
    """A file that the page loads."""
    name = request.match_info["name"]
    if name not in FILES:
        raise OperatorError(f"the page has no file {name!r}", status=404, code="no-such-path")
    return FILES[name].answer(request)
