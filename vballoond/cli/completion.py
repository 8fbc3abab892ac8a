"""What the shell is told when Tab is pressed.

Rules of this file: whatever goes wrong, nothing is said, and nobody waits for longer than half a second.
"""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, Final

import typer

from .client import DEFAULT_API, Client, ClientError, read_token_file

_PATIENCE_S: Final = 0.5
_MOST_FILES: Final = 10_000
"""Of a directory so many are looked at."""


def complete_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the balloons that begin so, as the daemon that the command line names has them."""
    return _begun(incomplete, _named(context, "/v1/balloons", "balloons"))


def complete_policies(context: typer.Context, incomplete: str) -> list[str]:
    """Return the policies that begin so, as the daemon that the command line names has them."""
    return _begun(incomplete, _named(context, "/v1/policy", "available"))


def complete_tried_policies(incomplete: str) -> list[str]:
    """Return the built-in policies that begin so, and the files that may be some."""
    from ..policy.builtin import BUILT_IN

    return [*_begun(incomplete, [policy.name for policy in BUILT_IN]), *_files(incomplete, ".py")]


def complete_scenarios(incomplete: str) -> list[str]:
    """Return the shipped scenarios that begin so, and the files that may be some."""
    return [*_begun(incomplete, _shipped_scenarios()), *_files(incomplete, ".toml")]


def complete_scenarios_and_views(incomplete: str) -> list[str]:
    """Return the same, and files of recorded views."""
    return [*_begun(incomplete, _shipped_scenarios()), *_files(incomplete, ".toml", ".jsonl")]


def complete_states(incomplete: str) -> list[str]:
    """Return the lists of frame states that begin so."""
    from protocol.balloon.frame_states import FRAME_STATES

    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{state}" for state in FRAME_STATES if state.startswith(last) and state not in given]


def _named(context: typer.Context, path: str, members: str) -> list[str]:
    """Return the names of what the daemon lists there; none where it has no answer."""
    given = context.params
    try:
        token = read_token_file(_path(given.get("token_file") or os.environ.get("VBALLOOND_TOKEN_FILE")))
        api = given.get("api") or os.environ.get("VBALLOOND_API") or DEFAULT_API
        listing = Client(str(api), token, _PATIENCE_S).get(path).json(members)
        names = [member["name"] for member in listing[members]]
    except (ClientError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str)]


def _begun(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _shipped_scenarios() -> list[str]:
    # As lab.simulation.shipped has them, whose import takes longer than anybody waits for a completion.
    place = Path(__file__).parents[1] / "lab" / "simulation" / "scenarios"
    return sorted(path.stem for path in place.glob("*.toml"))


def _files(incomplete: str, *endings: str) -> list[str]:
    """Return files that begin so and end so, and directories in which there may be some, which end in a slash."""
    before, slash, begun = incomplete.rpartition("/")
    try:
        with os.scandir(before + slash or ".") as entries:
            found = sorted(
                (entry.name, entry.is_dir())
                for entry in islice(entries, _MOST_FILES)
                if entry.name.startswith(begun) and (begun or not entry.name.startswith("."))
            )
    except (OSError, ValueError):
        return []
    return [
        f"{before}{slash}{name}{'/' if is_dir else ''}" for name, is_dir in found if is_dir or name.endswith(endings)
    ]


def _path(value: Any) -> Path | None:
    return Path(value) if value else None
