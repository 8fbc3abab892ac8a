"""What a client prefers: RFC 7240's ``Prefer: wait=S``."""

import re
from typing import Final

from aiohttp import web

from ..errors import OperatorError

MAX_WAIT_S: Final = 600

_WAIT: Final = re.compile(r"wait\s*=\s*\"?(\d+(?:\.\d+)?)\"?")


def wait_of(request: web.Request) -> float | None:
    """Return the seconds of ``Prefer: wait=S``; None without it.

    Raises:
        OperatorError: It is no number of seconds that can be waited for.
    """
    for preference in ",".join(request.headers.getall("Prefer", [])).split(","):
        if not preference.strip().lower().startswith("wait"):
            continue
        match = _WAIT.fullmatch(preference.strip().lower())
        if match is None or float(match[1]) > MAX_WAIT_S:
            raise OperatorError(f"Prefer: wait takes 0 to {MAX_WAIT_S} seconds, not {preference.strip()!r}")
        return float(match[1])
    return None
