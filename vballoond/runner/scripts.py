"""The policies that there are, whatever becomes of the process in which they run.

Rules of this file:

* A process that was killed is started anew by the next question.
* After any failure, and after any change of a file, the process is another one: nobody knows what the scripts that it
  has loaded have done to the one that there was.
* Questions to one process wait for each other. Who is not to wait for a script that others have asked has a process
  :meth:`~SeparateScripts.beside` theirs.
* Where nothing but what is built in can be found, no process is needed to know what there is.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import structlog
from pydantic import JsonValue, TypeAdapter, ValidationError

from ..errors import OperatorError, PolicyError
from ..policy.discover import Stamp, built_in_named, stamps_of
from ..policy.plan import parse_plan
from ..policy.policy import check_settings
from ..policy.view import first_problem
from .child import Bounds, Child, GoneError
from .findings import Findings, Known, bounded, only_built_in
from .messages import Message

_SETTINGS: Final = TypeAdapter(dict[str, JsonValue])
_MOST_TRIES: Final = 8
"""So many files may hang in one look; with more, only those that were looked at before are there."""

StartChild = Callable[[Bounds], Awaitable[Child]]


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

    def beside(self) -> "Scripts":
        """Return the same policies for others: neither waits for what the other has asked."""

    async def restart(self) -> None:
        """End whatever runs; the next question starts it anew."""

    async def end_if_idle(self) -> None:
        """End whatever runs if nobody has asked since this was called last; the next question starts it anew."""

    async def close(self) -> None:
        """End whatever runs, for good: who asks from now on gets a PolicyError, and nothing runs for them."""


class SeparateScripts:
    """Policies in a process of their own.

    Args:
        findings: Knows which there are.
        bounds: What the process may use.
        start: Starts one.
    """

    def __init__(self, findings: Findings, bounds: Bounds, start: StartChild = Child.start) -> None:
        self._findings: Final = findings
        self._bounds: Final = bounds
        self._start: Final = start
        self._asking: Final = asyncio.Lock()
        self._child: Child | None = None
        self._closed = False
        self._looked = False
        self._askers = 0
        self._idle = False
        self._stamps: dict[str, Stamp] = {}

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return self._child.pid if self._child is not None else None

    async def look(self) -> Known:
        """Return which policies there are now."""
        findings = self._findings
        if not await findings.has_scripts():
            return only_built_in()
        async with self._turn():
            try:
                await self._look()
            except PolicyError as error:
                known = findings.known if findings.known.policies else only_built_in()
                return Known(known.policies, {**known.problems, "process": str(error)}, known.stamps)
            return findings.known

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

    def beside(self) -> "SeparateScripts":
        """Return the same policies in another process, which starts with the first question."""
        return SeparateScripts(self._findings, self._bounds, self._start)

    async def restart(self) -> None:
        """End the process, if there is one; the next question starts another."""
        async with self._asking:
            await self._end()

    async def end_if_idle(self) -> None:
        """End the process if nobody has asked since this was called last; a question under way is no idleness."""
        idle, self._idle = self._idle, True
        if idle and not self._askers:
            await self.restart()

    async def close(self) -> None:
        """End the process, if there is one, for good; a question that is under way is answered first."""
        self._closed = True
        await self.restart()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until those who came before have their answers."""
        self._idle = False
        self._askers += 1
        try:
            async with self._asking:
                yield
        finally:
            self._askers -= 1

    async def _ask(self, head: dict[str, Any], body: bytes = b"") -> Message:
        name = head["name"]
        async with self._turn():
            child = await self._looking()
            try:
                answer = await child.ask(Message(head, body))
            except GoneError as error:
                self._child = None
                listed = self._findings.known.policies.get(name)
                raise PolicyError(f"policy {name!r}: {error.report(listed.origin if listed else '')}") from error
            except BaseException:
                self._child = None  # it was killed with the question half asked
                raise
            if "refused" in answer.head:
                raise OperatorError(str(answer.head["refused"]), status=422, code=str(answer.head.get("code")))
            if "failed" in answer.head:
                await self._end()
                raise PolicyError(bounded(answer.head["failed"]))
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
            question = self._findings.question()
            try:
                answer = await child.ask(question.message)
                if "failed" in answer.head:
                    raise GoneError(bounded(answer.head["failed"]))  # noqa: TRY301 (it is handled alike)
                self._findings.take(answer.body)
            except GoneError as error:
                await self._end()
                self._findings.pass_over(error, question)
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
        stamps = await asyncio.to_thread(stamps_of, self._findings.directory)
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
