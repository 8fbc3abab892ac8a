"""The policies that there are, whatever becomes of the process in which they run.

Rules of this file:

* A process that was killed is started anew by the next question. It is given the sources of the files that could be
  loaded, so that a file that is broken by then still gives what it gave before.
* A file that hangs, or takes the process with it, while it is loaded, is a problem and is passed over until it changes.
* After any failure, and after any change of a file, the process is another one: nobody knows what the scripts that it
  has loaded have done to the one that there was.
* Where nothing but what is built in can be found, no process is needed to know what there is.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import structlog
from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from ..errors import OperatorError, PolicyError
from ..policy.discover import GROUP, MAX_FILES, Stamp, built_in, built_in_named, stamps_of
from ..policy.plan import parse_plan
from ..policy.policy import check_settings
from ..policy.view import first_problem
from .child import Bounds, Child, GoneError
from .messages import Message

MAX_PROBLEM_CHARACTERS: Final = 8000
_SETTINGS: Final = TypeAdapter(dict[str, JsonValue])
_MOST_TRIES: Final = 8
"""So many files may hang in one look; with more, only those that were looked at before are there."""

StartChild = Callable[[Bounds], Awaitable[Child]]


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


class Scripts(Protocol):
    """Whom the daemon asks."""

    async def look(self) -> Known:
        """Return which policies there are now; what fails to load is a problem. Never raises for a script."""

    async def settle(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of a policy, where ``given`` are some of them.

        Raises:
            OperatorError: Status 422: there is no such policy, or one of them is wrong.
            PolicyError: Its own check fails.
        """

    async def plan(self, name: str, settings: Mapping[str, Any], view: bytes) -> bytes:
        """Return the plan of a policy for a view, both as JSON; nobody has checked what comes.

        Raises:
            OperatorError: Status 422: there is no such policy, or its settings are wrong.
            PolicyError: It has none.
        """

    async def restart(self) -> None:
        """End whatever runs; the next question starts it anew."""

    async def close(self) -> None:
        """End whatever runs, for good: who asks from now on gets a PolicyError, and nothing runs for them."""


class SeparateScripts:
    """Policies in a process of their own.

    Args:
        directory: Where those are that are files; None: nowhere.
        bounds: What the process may use.
        start: Starts one.
    """

    def __init__(self, directory: Path | None, bounds: Bounds, start: StartChild = Child.start) -> None:
        self._directory: Final = directory
        self._bounds: Final = bounds
        self._start: Final = start
        self._asking: Final = asyncio.Lock()
        self._child: Child | None = None
        self._closed = False
        self._looked = False
        self._has_packages: bool | None = None
        self._stamps: dict[str, Stamp] = {}
        self._files: dict[str, _File] = {}
        self._known = Known()

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._child.pid if self._child is not None else None

    async def look(self) -> Known:
        """Return which policies there are now."""
        if self._directory is None and not await self._packages():
            return _built_in()
        async with self._asking:
            try:
                await self._look()
            except PolicyError as error:
                known = self._known if self._known.policies else _built_in()
                return Known(known.policies, {**known.problems, "process": str(error)}, known.stamps)
            return self._known

    async def _packages(self) -> bool:
        if self._has_packages is None:  # many files are read for this, so once
            self._has_packages = bool(await asyncio.to_thread(entry_points, group=GROUP))
        return self._has_packages

    async def settle(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all settings of a policy, where ``given`` are some of them."""
        if (found := built_in_named(name)) is not None:  # nothing of a script's is run for these
            return check_settings(found.policy, given).model_dump(mode="json")
        answer = await self._ask({"do": "settle", "name": name, "settings": dict(given)})
        settings: dict[str, Any] = json.loads(answer.body)
        return settings

    async def plan(self, name: str, settings: Mapping[str, Any], view: bytes) -> bytes:
        """Return the plan of a policy for a view, both as JSON."""
        answer = await self._ask({"do": "plan", "name": name, "settings": dict(settings)}, view)
        return answer.body

    async def restart(self) -> None:
        """End the process, if there is one; the next question starts another."""
        async with self._asking:
            await self._end()

    async def close(self) -> None:
        """End the process, if there is one, for good; a question that is under way is answered first."""
        self._closed = True
        await self.restart()

    async def _ask(self, head: dict[str, Any], body: bytes = b"") -> Message:
        name = head["name"]
        async with self._asking:
            child = await self._looking()
            try:
                answer = await child.ask(Message(head, body))
            except GoneError as error:
                self._child = None
                listed = self._known.policies.get(name)
                raise PolicyError(f"policy {name!r}: {error.report(listed.origin if listed else '')}") from error
            except BaseException:
                self._child = None  # it was killed with the question half asked
                raise
            if "refused" in answer.head:
                raise OperatorError(str(answer.head["refused"]), status=422, code=str(answer.head.get("code")))
            if "failed" in answer.head:
                await self._end()
                raise PolicyError(_bounded(answer.head["failed"]))
            try:
                await asyncio.to_thread(_check_form, head["do"], answer.body)
            except PolicyError as error:
                await self._end()
                raise PolicyError(f"policy {name!r}: {error}") from error
            return answer

    async def _looking(self) -> Child:
        """Return a process that knows which policies there are."""
        if self._child is None or not self._child.alive or not self._looked:
            await self._look()
        assert self._child is not None
        return self._child

    async def _look(self) -> None:
        for _ in range(_MOST_TRIES):
            child = await self._running()
            before = [file.model_dump() for file in self._files.values()]
            question = Message({"do": "look", "directory": self._directory and str(self._directory)}, _json(before))
            try:
                answer = await child.ask(question)
                if "failed" in answer.head:
                    raise GoneError(_bounded(answer.head["failed"]))  # noqa: TRY301 (it is handled alike)
                self._take(_Looked.model_validate_json(answer.body))
            except GoneError as error:
                await self._end()
                self._pass_over(error)
            except ValidationError as error:
                await self._end()
                raise PolicyError(f"the process for policies sent nonsense: {str(error)[:500]}") from error
            except BaseException:
                await self._end()
                raise
            else:
                self._looked = True
                return
        raise PolicyError(f"{_MOST_TRIES} files in a row end or hang the process that loads them")

    async def _running(self) -> Child:
        if self._closed:
            raise PolicyError("the configuration has changed meanwhile: ask again")
        stamps = await asyncio.to_thread(stamps_of, self._directory)
        if stamps != self._stamps:
            self._stamps = stamps
            await self._end()
        if self._child is not None and not self._child.alive:
            structlog.get_logger().warning("process for policies has ended by itself", pid=self._child.pid)
            await self._end()
        if self._child is None:
            self._looked = False
            self._child = await self._start(self._bounds)
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.close()

    def _pass_over(self, error: GoneError) -> None:
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
        source = known.source if known is not None and known.stamp != culprit.stamp else None
        self._files[path] = culprit.model_copy(update={"problem": problem, "source": source})

    def _take(self, looked: _Looked) -> None:
        files: dict[str, _File] = {}
        for file in looked.files:
            before = self._files.get(file.path)
            source = file.source
            if source is None and before is not None and (file.problem is not None or before.stamp == file.stamp):
                source = before.source
            if source is not None or file.problem is not None:
                files[file.path] = file.model_copy(update={"source": source})
        self._files = files
        problems = {origin[:4096]: _bounded(problem) for origin, problem in looked.problems.items()}
        stamps = {file.path: file.stamp for file in looked.files}
        self._known = Known({listed.name: listed for listed in looked.policies}, problems, stamps)


def _check_form(asked: str, body: bytes) -> None:
    """Return if ``body`` is of the form of an answer to what was asked; whether it means anything, others look at.

    Raises:
        PolicyError: It is not.
    """
    if asked == "plan":
        parse_plan(body)
    elif asked == "settle":
        try:
            _SETTINGS.validate_json(body)
        except ValidationError as error:
            raise PolicyError(f"what came are no settings: {first_problem(error)}") from error


def _built_in() -> Known:
    shown = [Listed.model_validate(found.shown()) for found in built_in()]
    return Known({listed.name: listed for listed in shown})


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _bounded(text: object) -> str:
    return str(text)[:MAX_PROBLEM_CHARACTERS]
