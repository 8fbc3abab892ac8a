"""What the shell is told when Tab is pressed.

Rules of this file: whatever goes wrong, nothing is said, and nobody waits for longer than half a second.
"""

import os
from pathlib import Path
from typing import Any, Final

import typer

from .client import DEFAULT_API, Client, ClientError, read_token_file

_PATIENCE_S: Final = 0.5


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the balloons that begin so, as the daemon that the command line names has them."""
    given = context.params
    try:
        token = read_token_file(_path(given.get("token_file") or os.environ.get("VBALLOOND_TOKEN_FILE")))
        api = given.get("api") or os.environ.get("VBALLOOND_API") or DEFAULT_API
        listing = Client(str(api), token, _PATIENCE_S).get("/v1/balloons").json("balloons")
        names = [balloon["name"] for balloon in listing["balloons"]]
    except (ClientError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str) and name.startswith(incomplete)]


def complete_states(incomplete: str) -> list[str]:
    """Return the lists of frame states that begin so."""
    from protocol.balloon.frame_states import FRAME_STATES

    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{state}" for state in FRAME_STATES if state.startswith(last) and state not in given]


def _path(value: Any) -> Path | None:
    return Path(value) if value else None
