"""Texts in memory files, with the version of their format: JSON objects."""

import json
import reprlib
from collections.abc import Mapping
from typing import Any, Final

from ..errors import StateError

FORMAT_VERSION: Final = 1
"""Of all that is kept. It counts up when an older reader would misunderstand."""


def versioned(content: Mapping[str, Any]) -> bytes:
    """Return plain JSON data as a text that :func:`parse_versioned` reads."""
    return json.dumps({"version": FORMAT_VERSION, **content}, separators=(",", ":")).encode()


def parse_versioned(text: bytes) -> dict[str, Any]:
    """Return the members of a JSON object, save its version, which is right.

    Raises:
        StateError: It is none, or of another version.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StateError(f"kept state that is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise StateError("kept state that is no JSON object")
    _check_version(content.pop("version", None))
    return content


def _check_version(version: object) -> None:
    if type(version) is int and version == FORMAT_VERSION:
        return
    newer = type(version) is int and version > FORMAT_VERSION
    raise StateError(
        f"kept state of format {reprlib.repr(version)}, where this vballoond reads format {FORMAT_VERSION}: "
        f"{'it was written by a newer one, so start that' if newer else 'it is none that there ever was'}"
    )
