"""A policy as it is named on a command line: built in or installed, or a file; with settings.

    watermark
    watermark:pressure_threshold=0.3,samples=1
    my_policy.py
    my_policies.py#second:step_bytes=1048576

What is chosen travels to other processes and machines: of a file, its source goes along. It is run in a process
that can be killed, also to find out whether it is a policy at all (``policy_process``); what is built in runs here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ...errors import OperatorError
from ...policy import PolicySettings
from ...policy.discover import MAX_FILE_BYTES, Found, built_in, built_in_named
from ...policy.policy import check_settings
from .policy_process import TIME_LIMIT_S, PolicyProcess


@dataclass(frozen=True, slots=True)
class ChosenPolicy:
    """Plain data. ``settings`` is a JSON object with sorted keys."""

    name: str
    settings: str = "{}"
    file: str = ""
    source: str | None = None
    """Of a file."""
    shown: str = ""
    """The name for people, where another one that is tried has the same."""

    @property
    def label(self) -> str:
        """What people are shown: the name, and the settings that are not its defaults."""
        given = self.given()
        said = ",".join(
            f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()
        )
        name = self.shown or self.name
        return f"{name}:{said}" if said else name

    def given(self) -> dict[str, Any]:
        """Return the settings that were given."""
        given: dict[str, Any] = json.loads(self.settings)
        return given

    def with_settings(self, more: dict[str, Any]) -> "ChosenPolicy":
        """Return it with further settings."""
        settings = json.dumps(self.given() | more, sort_keys=True)
        return replace(self, settings=settings)

    def on(self, settings: Mapping[str, Mapping[str, Any]]) -> "ChosenPolicy":
        """Return it with the settings that a scenario has for it, as far as none are given."""
        more = dict(settings.get(self.name, {}))
        return replace(self, settings=json.dumps(more | self.given(), sort_keys=True))

    @property
    def is_built_in(self) -> bool:
        """Whether the program's own code decides."""
        return self.source is None and built_in_named(self.name) is not None

    def checked(self) -> tuple[Found, PolicySettings]:
        """Return a policy that is built in and its settings, defaults filled in; :meth:`at_work` has any.

        Raises:
            OperatorError: There is none of the name, or a setting is wrong.
        """
        found = built_in_named(self.name)
        if self.source is not None or found is None:
            there = ", ".join(sorted(each.policy.name for each in built_in()))
            raise OperatorError(f"no policy {self.name!r} is built in: there are {there}")
        return found, check_settings(found.policy, self.given())

    @contextmanager
    def at_work(self, time_limit_s: float = TIME_LIMIT_S) -> Iterator[tuple[Found, PolicySettings]]:
        """Have the policy and its settings, to be asked until the block ends. Then nothing of it is left.

        Raises:
            OperatorError: There is none of the name, or a setting is wrong.
            PolicyError: Its file cannot be run, or is no policy.
        """
        if self.is_built_in:
            yield self.checked()
            return
        with PolicyProcess(self.file, self.source, time_limit_s) as process:
            process.settle(self.name, self.given())
            # The settings are with the process already.
            yield Found(process.asked(self.name, self.given()), self.file, self.file), PolicySettings()


def choose(text: str, time_limit_s: float = TIME_LIMIT_S) -> ChosenPolicy:
    """Return what ``text`` names, checked.

    Raises:
        OperatorError: It names nothing, or its settings are wrong.
        PolicyError: Its file cannot be run, or is no policy.
    """
    named, _, settings = text.partition(":")
    path, _, name = named.partition("#")
    given = json.dumps(_settings(settings, text), sort_keys=True)
    if not path.endswith(".py"):
        chosen = ChosenPolicy(named, given)
        check([chosen], time_limit_s)
        return chosen
    source = _source(Path(path))
    with PolicyProcess(path, source, time_limit_s) as process:
        names = process.names()
        if not name and len(names) > 1:
            raise OperatorError(f"{path} has {len(names)} policies: write {path}#NAME, with one of {', '.join(names)}")
        chosen = ChosenPolicy(name or names[0], given, path, source)
        process.settle(chosen.name, chosen.given())
    return chosen


def check(chosen: Sequence[ChosenPolicy], time_limit_s: float = TIME_LIMIT_S) -> None:
    """Check that all of these are there and take their settings. Those of one file are asked in one process.

    Raises:
        OperatorError: One is not there, or one of its settings is wrong.
        PolicyError: A file cannot be run, or is no policy.
    """
    of_files: dict[tuple[str, str | None], list[ChosenPolicy]] = {}
    for one in chosen:
        if one.is_built_in:
            one.checked()
        else:
            of_files.setdefault((one.file, one.source), []).append(one)
    for (file, source), those in of_files.items():
        with PolicyProcess(file, source, time_limit_s) as process:
            for one in those:
                process.settle(one.name, one.given())


def told_apart(chosen: Iterable[ChosenPolicy]) -> list[ChosenPolicy]:
    """Return each once; those that have their name in common are shown with their files."""
    each = list(dict.fromkeys(chosen))
    origins: dict[str, set[str]] = {}
    for one in each:
        origins.setdefault(one.name, set()).add(one.file)
    return [replace(one, shown=f"{one.name} of {one.file}") if len(origins[one.name]) > 1 else one for one in each]


def _source(path: Path) -> str:
    try:
        with path.open("rb") as file:
            source = file.read(MAX_FILE_BYTES + 1)
        if len(source) > MAX_FILE_BYTES:
            raise OperatorError(f"policy {path}: it has more than {MAX_FILE_BYTES} bytes")
        return source.decode()
    except OSError as error:
        raise OperatorError(f"policy {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"policy {path}: it is not UTF-8 text") from error


def parse_value(text: str) -> Any:
    """Return the value of a setting: JSON where it is that, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


_EXAMPLE: Final = "watermark:pressure_threshold=0.3,samples=1"


def _settings(text: str, whole: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if not (key.strip() and equals) or key.strip() in given:
            raise OperatorError(f"policy {whole!r}: settings are written as in {_EXAMPLE}, each once")
        given[key.strip()] = parse_value(value)
    return given
