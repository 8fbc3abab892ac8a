"""Scenarios: which loads run in a guest, and when. A file of TOML, a file of Python, or a name of one that is shipped.

A TOML scenario lists loads::

    [[load]]
    kind = "build"
    jobs = 4
    start_s = 60
    stop_s = 600

A Python scenario has a function ``run(machine)``, a load of its own (``machine``).
"""

import importlib.util
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from ..errors import GuestModelError
from ..kernel import Thread
from . import loads
from .machine import Load, Machine

KINDS: Final[Mapping[str, type[loads.AnyLoad]]] = {
    "anonymous": loads.Anonymous,
    "build": loads.Build,
    "file-cache": loads.FileCache,
    "hog": loads.Hog,
    "idle": loads.Idle,
    "job": loads.Job,
    "kernel": loads.KernelChurn,
    "slab": loads.Slab,
    "spike": loads.Spike,
}
"""The loads of TOML scenarios, by their names there."""

SHIPPED: Final = Path(__file__).parent / "scenarios"


class ScenarioError(GuestModelError):
    """A scenario cannot be read; the message says where, and what would be right."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A load that begins after ``start_s`` and ends at ``stop_s``, both from the scenario's start."""

    load: Load
    start_s: float = 0.0
    stop_s: float | None = None

    def run(self, machine: Machine) -> Thread:
        """Run the load in its time."""
        if self.start_s:
            yield self.start_s
        part = machine.part()
        part.start(self.load)
        if self.stop_s is not None:
            yield self.stop_s - self.start_s
            part.stop()


@dataclass(frozen=True, slots=True)
class Scenario:
    """All loads of a guest, which is itself one."""

    name: str
    loads: tuple[Load, ...]

    def run(self, machine: Machine) -> Thread:
        """Start all loads, and end."""
        for load in self.loads:
            machine.start(load)
        return
        yield  # a load is a thread, though this one never sleeps


def shipped_scenarios() -> list[str]:
    """Return the names of those that come with the program."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_scenario(name: str) -> Scenario:
    """Return a scenario: by a file's path if that ends in .toml or .py, else one that is shipped.

    Raises:
        ScenarioError: There is none of the name, or the file is not one.
    """
    path = Path(name)
    if path.suffix == ".py":
        return Scenario(path.stem, (_Scripted(_run_function(path)),))
    if path.suffix != ".toml":
        path = SHIPPED / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(shipped_scenarios())
            raise ScenarioError(f"no scenario {name!r}: there are {known}, or give a .toml or .py file")
    return Scenario(path.stem, tuple(scheduled(path, entry) for entry in _entries(path)))


@dataclass(frozen=True, slots=True)
class _Scripted:
    function: Any

    def run(self, machine: Machine) -> Thread:
        yield from self.function(machine)


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"scenario {path}: {error}") from error
    entries = document.pop("load", None)
    well_formed = isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)
    if document or not well_formed:
        raise ScenarioError(f"scenario {path}: it takes [[load]] tables, one or more, and nothing else")
    return list(entries or ())


def scheduled(path: Path, entry: Mapping[str, Any]) -> Scheduled:
    """Return the load that ``entry`` means, a ``[[load]]`` table of the scenario ``path``.

    Raises:
        ScenarioError: It means none.
    """
    settings = dict(entry)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ScenarioError(f"scenario {path}: kind {kind!r} is none of {', '.join(KINDS)}")
    try:
        times = {key: _NUMBER.validate_python(settings.pop(key)) for key in _TIMES if key in settings}
        _check_times(times)
        return Scheduled(_load(KINDS[kind], settings), **times)
    except ValueError as error:
        raise ScenarioError(f"scenario {path}: load {kind!r}: {_explain(error)}") from error


def _load(kind: type[loads.AnyLoad], settings: dict[str, Any]) -> Load:
    known = {field.name for field in fields(kind)}
    if not settings.keys() <= known:
        unknown = ", ".join(sorted(settings.keys() - known))
        raise ValueError(f"unknown key {unknown}; it takes {', '.join(sorted({*known, *_TIMES}))}")
    load = TypeAdapter(kind).validate_python(settings)
    values = asdict(load)
    _check_numbers(values)
    for key, value in values.items():
        least = key.replace("max_", "min_").replace("high_", "low_")
        if least != key and value < values[least]:
            raise ValueError(f"{key} must not be below {least}")
    return load


def _check_times(times: dict[str, float]) -> None:
    _check_numbers(times)
    if times.get("stop_s", math.inf) <= times.get("start_s", 0.0):
        raise ValueError("stop_s must be after start_s")


def _check_numbers(values: dict[str, Any]) -> None:
    for key, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{key} must be a number")
        if value < 0:
            raise ValueError(f"{key} must not be below 0")
        if value == 0 and key == "every_s":
            raise ValueError("every_s must be above 0: nothing else would run")


def _explain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc'])) or 'start_s, stop_s'}: {problem['msg']}"
    return str(error)


def _run_function(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"scenario_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScenarioError(f"scenario {path}: {type(error).__name__}: {error}") from error
    function = getattr(module, "run", None)
    if not callable(function):
        raise ScenarioError(f"scenario {path}: it has no function run(machine)")
    return function


_NUMBER: Final = TypeAdapter(float)
_TIMES: Final[tuple[str, ...]] = ("start_s", "stop_s")
