"""A balloon in a file of its own, for ``vballoond add --file``."""

import json
import tomllib
from pathlib import Path
from typing import Any

from .client import ClientError


def read_balloon_file(path: Path, name: str) -> dict[str, Any]:
    """Return the keys of the balloon ``name`` that the file describes, without its name.

    A file has either the keys themselves, or ``[[balloon]]`` tables as the configuration has them, of which one is that
    balloon. What the keys may be, the daemon knows.

    Raises:
        ClientError: The file cannot be read, is neither TOML nor JSON, or describes another balloon.
    """
    keys = _balloon_of(path, _content(path), name)
    written = keys.get("name", name)
    if written != name:
        raise ClientError(
            f"{path}: this is balloon {written!r}, not {name!r}", f"'vballoond add {written} --file {path}'"
        )
    return {key: value for key, value in keys.items() if key != "name"}


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
        value = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ClientError(
            f"{path} is no {kind}: {error}", "JSON is read from files whose names end in .json"
        ) from error
    if not isinstance(value, dict):
        raise ClientError(f'{path}: a balloon is an object with its keys, such as {{"memory": "1GiB"}}')
    return value


def _balloon_of(path: Path, content: dict[str, Any], name: str) -> dict[str, Any]:
    tables = content.get("balloon")
    if tables is None:
        return content
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ClientError(f"{path}: 'balloon' is a list of tables, each headed [[balloon]]")
    if len(tables) == 1:
        return dict(tables[0])
    for table in tables:
        if table.get("name") == name:
            return dict(table)
    names = ", ".join(repr(table.get("name")) for table in tables)
    raise ClientError(f"{path} has no balloon {name!r}; it has {names or 'none'}")
