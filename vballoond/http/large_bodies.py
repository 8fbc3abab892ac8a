"""Requests whose bodies may be larger than all others: a snapshot of a whole host.

Rules of this file:

* A path has its own bound, and no other path is touched by it.
* Few of them are in the daemon at once, from the first byte to the answer: each takes many times its size while it is
  worked on. One more is told to come again, and waits for nobody.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from ..errors import OperatorError
from .bodies import MAX_BODY_BYTES

AT_ONCE: Final = 2
"""A snapshot of ten thousand guests has 13 MB, and its objects have 70."""


class LargeBodies:
    """Says how large a request's body may be.

    Args:
        most_bytes: By path, where that is more than elsewhere.
    """

    def __init__(self, most_bytes: Mapping[str, int]) -> None:
        self._most_bytes: Final = most_bytes
        self._under_way = 0

    @asynccontextmanager
    async def room(self, request: web.Request) -> AsyncIterator[web.Request]:
        """Give the request as it is to be read and answered, while its body has room.

        Raises:
            OperatorError: 429: as many large ones as there may be are under way.
        """
        most_bytes = self._most_bytes.get(request.path, MAX_BODY_BYTES)
        length = request.content_length  # None: it comes in chunks, and may become as large as it may be
        if most_bytes <= MAX_BODY_BYTES or (length is not None and length <= MAX_BODY_BYTES):
            yield request
            return
        if self._under_way >= AT_ONCE:
            detail = f"{AT_ONCE} bodies of more than {MAX_BODY_BYTES} bytes are being looked at; try again later"
            raise OperatorError(detail, status=429, code="busy")
        self._under_way += 1
        try:
            yield request.clone(client_max_size=most_bytes)
        finally:
            self._under_way -= 1
