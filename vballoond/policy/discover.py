"""Which policies there are: built in, of installed packages (entry points), and files in a directory.

Rules of this file:

* A file that cannot be loaded is a problem that is told, with its own lines; what it gave before stays.
* A file is loaded again when it has changed, and not before. Its policies go when it goes.
* The first one that has a name keeps it: built in, then packages, then files in the order of their names.
* Loading runs the file. Whoever must not wait for it does this in a process that can be killed.
"""

import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ..errors import PolicyError
from .blame import own_lines
from .builtin import BUILT_IN
from .policy import Policy, check_policy, settings_of, summary_of

GROUP: Final = "vballoond.policies"
MAX_FILES: Final = 256
MAX_FILE_BYTES: Final = 1 << 20
MAX_SHOWN_BYTES: Final = 64 << 10
"""Of one policy: name, summary, and the schema of its settings."""
_MODULE_PREFIX: Final = "vballoond_policy_file_"
_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

Stamp = tuple[int, int, int]
"""Of a file: when it or who may read it was changed, how large it is, and which it is."""


@dataclass(frozen=True, slots=True)
class Found:
    """A policy, and where it is from: ``built-in``, the name of a package, or the file."""

    policy: type[Policy]
    origin: str
    file: str
    """Whose lines are shown when it fails."""

    def shown(self) -> dict[str, Any]:
        """Return what people and scripts are shown of it."""
        return {
            "name": self.policy.name,
            "origin": self.origin,
            "summary": summary_of(self.policy),
            "settings_schema": settings_of(self.policy).model_json_schema(),
        }


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file gave when it was loaded last without an error, and which content was looked at last."""

    stamp: Stamp
    policies: tuple[Found, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that was found. ``problems`` tells by origin what could not be had, and why."""

    policies: Mapping[str, Found] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Loaded] = field(default_factory=dict)

    def news(self, before: "Catalogue") -> dict[str, str]:
        """Return the problems that ``before`` did not have, so that each is told once."""
        return {origin: text for origin, text in self.problems.items() if before.problems.get(origin) != text}


def discover(directory: Path | None, before: Catalogue | None = None) -> Catalogue:
    """Return the policies that there are, files of ``directory`` among them. Never raises.

    Args:
        directory: None: there are no files.
        before: What was found last time: files that have not changed since are not loaded again.
    """
    problems: dict[str, str] = {}
    found = list(built_in())
    found += _of_packages(entry_points(group=GROUP), problems)
    files = _of_directory(directory, before.files if before else {}, problems)
    for loaded in files.values():
        found += loaded.policies
    return Catalogue(_named(found, problems), problems, files)


def built_in() -> tuple[Found, ...]:
    """Return the policies that are always there."""
    return tuple(Found(policy, "built-in", _file_of(policy)) for policy in BUILT_IN)


def built_in_named(name: str) -> Found | None:
    """Return the policy of this name that is always there, whatever files and packages call theirs; None: none is."""
    return next((found for found in built_in() if found.policy.name == name), None)


def _named(found: Iterable[Found], problems: dict[str, str]) -> dict[str, Found]:
    named: dict[str, Found] = {}
    for item in found:
        first = named.setdefault(item.policy.name, item)
        if first is not item:
            taken = f"policy {item.policy.name!r} is there already ({first.origin}): give this one another name"
            problems.setdefault(item.origin, taken)
    return named


def _of_packages(points: Iterable[EntryPoint], problems: dict[str, str]) -> list[Found]:
    found = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        origin = f"package {point.dist.name}" if point.dist else f"entry point {point.name}"
        try:
            policy = point.load()
            if not isinstance(policy, type):
                raise PolicyError(f"entry point {point.name!r} ({point.value}) is not a class")  # noqa: TRY301
            check_policy(policy)
            item = Found(policy, origin, _file_of(policy))
            _check_shown(item)
        except PolicyError as error:
            problems[origin] = str(error)
        except BaseException as error:  # noqa: BLE001 (a package can fail in any way)
            problems[origin] = f"entry point {point.name!r} cannot be loaded\n{own_lines(error, '')}"
        else:
            found.append(item)
    return found


def _file_of(policy: type) -> str:
    return str(getattr(sys.modules.get(policy.__module__), "__file__", ""))


def _of_directory(directory: Path | None, before: Mapping[str, Loaded], problems: dict[str, str]) -> dict[str, Loaded]:
    if directory is None:
        return {}
    try:
        paths = _paths(directory)
    except OSError as error:
        problems[str(directory)] = f"the directory of policies cannot be read: {error.strerror}"
        return {}
    if len(paths) > MAX_FILES:
        problems[str(directory)] = f"there are {len(paths)} files; the first {MAX_FILES} by name are looked at"
    files = {str(path): _looked_at(path, before.get(str(path))) for path in paths[:MAX_FILES]}
    problems.update({name: loaded.problem for name, loaded in files.items() if loaded.problem is not None})
    return files


def _paths(directory: Path) -> list[Path]:
    """Return what may be a policy's file by its name, if that can be written down."""
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(".py") and entry.name.isprintable())
    return [directory / name for name in names if not name.startswith((".", "_"))]


def _looked_at(path: Path, before: Loaded | None) -> Loaded:
    old = before.policies if before else ()
    stamp: Stamp = (0, 0, 0)
    try:
        status = path.stat()
        stamp = _stamp(status)
        if before and before.stamp == stamp:
            return before
        if not stat.S_ISREG(status.st_mode):
            return Loaded(stamp, old, f"{path.name} is not a file, but {_KINDS.get(stat.S_IFMT(status.st_mode))}")
        with path.open("rb") as file:
            source = file.read(MAX_FILE_BYTES + 1)  # whatever its size was said to be
    except OSError as error:
        return Loaded(stamp, old, f"{path.name} cannot be read: {error.strerror}")
    if len(source) > MAX_FILE_BYTES:
        size = max(status.st_size, len(source))
        return Loaded(stamp, old, f"{path.name} has {size} bytes; {MAX_FILE_BYTES} are the most")
    try:
        return Loaded(stamp, load(path, source))
    except PolicyError as error:
        return Loaded(stamp, old, str(error))


def stamps_of(directory: Path | None) -> dict[str, Stamp]:
    """Return what tells whether a file of ``directory`` has changed, by path, without loading any. Never raises."""
    try:
        paths = _paths(directory)[:MAX_FILES] if directory is not None else []
    except OSError:
        return {}
    return {str(path): stamp_of(path) for path in paths}


def stamp_of(path: Path) -> Stamp:
    """Return what tells whether a file has changed; zeros where that cannot be told."""
    try:
        return _stamp(path.stat())
    except OSError:
        return (0, 0, 0)


def _stamp(status: os.stat_result) -> Stamp:
    # Whatever changes a file or its mode sets this time, and nobody can set it back as they can the time of change.
    return status.st_ctime_ns, status.st_size, status.st_ino


def load(path: Path, source: bytes) -> tuple[Found, ...]:
    """Run ``source``, the content of the file ``path``, and return the policies that it defines, at least one.

    Raises:
        PolicyError: It cannot be run, or defines none; the message has its own lines only.
    """
    module = ModuleType(f"{_MODULE_PREFIX}{path.stem}")
    module.__file__ = str(path)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses and pydantic look up there what annotations mean
    try:
        # Compiled here rather than imported: an import could use an old compiled file of the same second and size.
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 (a policy is code)
        found = tuple(Found(policy, str(path), str(path)) for policy in _defined(module))
        for each in found:
            _check_shown(each)
    except BaseException as error:  # whatever a file raises is a problem of that file's only
        if before is not None:
            sys.modules[module.__name__] = before
        else:
            del sys.modules[module.__name__]
        if isinstance(error, PolicyError):
            raise PolicyError(f"{path.name}: {error}") from error
        raise PolicyError(f"{path.name} cannot be loaded\n{own_lines(error, path)}") from error
    return found


def _check_shown(found: Found) -> None:
    """Return if the policy can be shown to people. That runs code of its own, so it can fail in any way.

    Raises:
        PolicyError: More is to be shown than anybody could read, or a number in it is none or without end.
    """
    try:
        shown = len(json.dumps(found.shown(), allow_nan=False))
    except ValueError as error:
        raise PolicyError(f"the schema of its settings is not plain JSON data: {error}") from error
    if shown > MAX_SHOWN_BYTES:
        raise PolicyError(f"the schema of its settings has {shown} bytes; {MAX_SHOWN_BYTES} are the most")


def _defined(module: ModuleType) -> list[type[Policy]]:
    """Return the classes that are meant as policies: all that derive from ``Policy`` or have a plan, but those whose
    names begin with ``_``, which are for others to derive from."""  # noqa: D205, D209 (one sentence)
    items = dict.fromkeys(item for item in vars(module).values() if isinstance(item, type))  # one can have two names
    own = [item for item in items if item.__module__ == module.__name__ and not item.__name__.startswith("_")]
    policies = [item for item in own if Policy in item.__mro__ or callable(getattr(item, "plan", None))]
    if not policies:
        raise PolicyError("it defines no policy: a class with a name and plan(self, view, settings)")
    for policy in policies:
        check_policy(policy)
    return policies
