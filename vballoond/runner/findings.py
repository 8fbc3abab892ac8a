"""Which policies there are, as the processes that looked for them say, and what there was before.

Rules of this file:

* A file that cannot be loaded any more gives what it gave before: a process is told the source of each file that could
  be loaded.
* A file that hangs, or takes the process with it, while it is loaded is a problem, and is passed over until it changes.
* What a process says is checked as if a stranger had said it.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field, ValidationError

from ..errors import PolicyError
from ..policy.discover import GROUP, MAX_FILES, Stamp, built_in
from .child import GoneError
from .messages import Message

MAX_PROBLEM_CHARACTERS: Final = 8000


class Listed(BaseModel):
    """A policy as it is shown."""

    name: Annotated[str, Field(max_length=64)]
    origin: Annotated[str, Field(max_length=4096)]
    summary: Annotated[str, Field(max_length=200)]
    settings_schema: dict[str, Any]


class _File(BaseModel):
    path: str
    stamp: Stamp
    problem: str | None
    source: str | None


class _Looked(BaseModel):
    policies: list[Listed]
    problems: dict[str, str]
    files: Annotated[list[_File], Field(max_length=MAX_FILES)]


@dataclass(frozen=True, slots=True)
class Known:
    """The policies by name; ``problems`` tells by origin what could not be had. ``stamps`` are the files' contents."""

    policies: Mapping[str, Listed] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What a process is asked that is to look, and of which contents it is told the sources."""

    message: Message
    stamps: Mapping[str, Stamp]


class Findings:
    """Remembers what was found in a directory, for whichever process is asked next.

    Args:
        directory: Where policies are that are files; None: nowhere.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory: Final = directory
        self.known = Known()
        self._has_packages: bool | None = None
        self._files: dict[str, _File] = {}

    async def has_scripts(self) -> bool:
        """Say whether there can be any policy but those that are built in."""
        if self.directory is None and self._has_packages is None:  # many files are read for this, so once
            self._has_packages = bool(await asyncio.to_thread(entry_points, group=GROUP))
        return self.directory is not None or bool(self._has_packages)

    def question(self) -> Question:
        """Return what a process is asked that is to look."""
        before = [file.model_dump() for file in self._files.values()]
        directory = self.directory and str(self.directory)
        message = Message({"do": "look", "directory": directory}, json.dumps(before).encode())
        return Question(message, {file.path: file.stamp for file in self._files.values()})

    def take(self, body: bytes) -> None:
        """Take what a process has found.

        Raises:
            PolicyError: It is nonsense; nothing has changed.
        """
        try:
            looked = _Looked.model_validate_json(body)
        except ValidationError as error:
            raise PolicyError(f"the process for policies sent nonsense: {str(error)[:500]}") from error
        files: dict[str, _File] = {}
        problems = {origin[:4096]: bounded(problem) for origin, problem in looked.problems.items()}
        for file in looked.files:
            before = self._files.get(file.path)
            if before is not None and before.stamp == file.stamp and before.problem and file.problem:
                # Each process may say it in other words, and it is told once.
                file.problem = before.problem
                problems[file.path[:4096]] = bounded(before.problem)
            source = file.source
            if source is None and before is not None and (file.problem is not None or before.stamp == file.stamp):
                source = before.source
            if source is not None or file.problem is not None:
                files[file.path] = file.model_copy(update={"source": source})
        self._files = files
        stamps = {file.path: file.stamp for file in looked.files}
        self.known = Known({listed.name: listed for listed in looked.policies}, problems, stamps)

    def pass_over(self, error: GoneError, asked: Question) -> None:
        """Pass over the file at which a process was that is gone amid ``asked``, until it changes.

        Raises:
            PolicyError: It was at none, or what it said of it is nonsense; nothing has changed.
        """
        if error.looking_at is None:
            raise PolicyError(f"policies cannot be loaded: {error}") from error
        path, stamp = error.looking_at
        try:
            culprit = _File.model_validate({"path": path, "stamp": stamp, "problem": None, "source": None})
        except ValidationError:
            raise PolicyError(f"the process for policies sent nonsense: {error}") from error
        problem = f"{Path(path).name} cannot be loaded: {error.report(path)}"
        known = self._files.get(path)
        # What hung now may be what was loaded before, and is loaded from its source: then it is not loaded again.
        source = known.source if known is not None and asked.stamps.get(path) != culprit.stamp else None
        self._files[path] = culprit.model_copy(update={"problem": problem, "source": source})


def only_built_in() -> Known:
    """Return what there is without files and packages."""
    shown = [Listed.model_validate(found.shown()) for found in built_in()]
    return Known({listed.name: listed for listed in shown})


def bounded(problem: object) -> str:
    """Return as much of a problem as is told."""
    return str(problem)[:MAX_PROBLEM_CHARACTERS]
