"""A policy as it is named on a command line: built in or installed, or a file; with settings.

    watermark
    watermark:pressure_threshold=0.3,samples=1
    my_policy.py
    my_policies.py#second:step_bytes=1048576

What is chosen travels to other processes and machines: of a file, its source goes along.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...errors import OperatorError, PolicyError
from ...policy import PolicySettings
from ...policy.discover import MAX_FILE_BYTES, Found, discover, load
from ...policy.policy import check_settings


@dataclass(frozen=True, slots=True)
class ChosenPolicy:
    """Plain data. ``settings`` is a JSON object with sorted keys."""

    name: str
    settings: str = "{}"
    file: str = ""
    source: str | None = None
    """Of a file."""

    @property
    def label(self) -> str:
        """What people are shown: the name, and the settings that are not its defaults."""
        given = self.given()
        said = ",".join(
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()
        )
        return f"{self.name}:{said}" if said else self.name

    def given(self) -> dict[str, Any]:
        """Return the settings that were given."""
        given: dict[str, Any] = json.loads(self.settings)
        return given

    def with_settings(self, more: dict[str, Any]) -> "ChosenPolicy":
        """Return it with further settings."""
        settings = json.dumps(self.given() | more, sort_keys=True)
        return ChosenPolicy(self.name, settings, self.file, self.source)

    def on(self, settings: Mapping[str, Mapping[str, Any]]) -> "ChosenPolicy":
        """Return it with the settings that a scenario has for it, as far as none are given."""
        more = dict(settings.get(self.name, {}))
        return ChosenPolicy(self.name, json.dumps(more | self.given(), sort_keys=True), self.file, self.source)

    def found(self) -> Found:
        """Return the policy itself. Its file is run for that, in this process.

        Raises:
            OperatorError: There is none of the name; the message says which there are.
            PolicyError: Its file cannot be run, or is none.
        """
        there = _of_file(self) if self.source is not None else dict(discover(None).policies)
        if self.name not in there:
            raise OperatorError(f"no policy {self.name!r}: there are {', '.join(sorted(there))}; or give a .py file")
        return there[self.name]

    def checked(self) -> tuple[Found, PolicySettings]:
        """Return the policy and its settings, defaults filled in.

        Raises:
            OperatorError: There is none of the name, or a setting is wrong.
            PolicyError: Its file is none.
        """
        found = self.found()
        return found, check_settings(found.policy, self.given())


def choose(text: str) -> ChosenPolicy:
    """Return what ``text`` names, checked.

    Raises:
        OperatorError: It names nothing, or its settings are wrong.
        PolicyError: Its file cannot be run, or is no policy.
    """
    named, _, settings = text.partition(":")
    path, _, name = named.partition("#")
    given = json.dumps(_settings(settings, text), sort_keys=True)
    chosen = _from_file(Path(path), name, given) if path.endswith(".py") else ChosenPolicy(named, given)
    chosen.checked()
    return chosen


def _from_file(path: Path, name: str, settings: str) -> ChosenPolicy:
    try:
        source = path.read_bytes()
        text = source.decode()
    except OSError as error:
        raise OperatorError(f"policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"policy {path}: it is not UTF-8 text") from error
    if len(source) > MAX_FILE_BYTES:
        raise OperatorError(f"policy {path}: it has more than {MAX_FILE_BYTES} bytes")
    there = _of_file(ChosenPolicy(name, settings, str(path), text))
    if not name and len(there) > 1:
        raise OperatorError(f"{path} has {len(there)} policies: write {path}#NAME, with one of {', '.join(there)}")
    return ChosenPolicy(name or next(iter(there)), settings, str(path), text)


def _of_file(chosen: ChosenPolicy) -> dict[str, Found]:
    assert chosen.source is not None
    try:
        return {found.policy.name: found for found in load(Path(chosen.file), chosen.source.encode())}
    except PolicyError as error:
        raise PolicyError(f"policy {chosen.file}: {error}") from error


def parse_value(text: str) -> Any:
    """Return the value of a setting: JSON where it is that, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


_EXAMPLE: Final = "watermark:pressure_threshold=0.3,samples=1"


def _settings(text: str, whole: str) -> dict[str, Any]:
    given = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise OperatorError(f"policy {whole!r}: settings are written as in {_EXAMPLE}")
        given[key.strip()] = parse_value(value)
    return given
