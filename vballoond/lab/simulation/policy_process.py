"""The process in which a simulation has policies that are not its own code: of files, and of packages.

Rules of this file:

* It is the very process that the daemon has for them (``vballoond.runner``): bounded in time and memory, killed with
  all that it started, not allowed to write files or to run programs, and what it prints goes nowhere. So a policy is
  tried as it will be used.
* That process reads files, but what is tried is a source, wherever its file is by now. So the source is in a directory
  of its own meanwhile, and what is told of it names the file that it is from. It goes with the process (``endings``).
* A policy that keeps its time decides the same, however long it may take.
"""

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ...errors import OperatorError, PolicyError
from ...policy import Plan, View
from ...policy.plan import read_plan
from ...policy.policy import Policy
from ...policy.view import view_json
from ...runner.child import Bounds
from ...runner.findings import Findings
from ...runner.scripts import SeparateScripts

TIME_LIMIT_S: Final = 10.0
"""So long a policy may take to answer: more than in a daemon, since several runs share this machine's processors."""


class PolicyProcess:
    """The process of the policies of one file, or of those that packages bring. It starts with the first question.

    Args:
        file: What the file is called; "": there is none.
        source: What it has; None: there is none.
        time_limit_s: How long each answer may take.
    """

    def __init__(self, file: str, source: str | None, time_limit_s: float) -> None:
        self.file: Final = file
        self._source: Final = source
        self._bounds: Final = Bounds(time_limit_s)
        self._stack: Final = ExitStack()
        self._path: Path | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            directory = None if self._source is None else self._placed(stack, self._source)
            self._loop = stack.enter_context(asyncio.Runner())
            self._scripts = SeparateScripts(Findings(directory), self._bounds)
            stack.callback(lambda: self._loop.run(self._end()))
            self._stack.push(stack.pop_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def _end(self) -> None:
        # Whoever was told to end amid a question has left it under way, and would wait here for its answer.
        for question in asyncio.all_tasks() - {asyncio.current_task()}:
            question.cancel()
        await self._scripts.close()

    def names(self) -> list[str]:
        """Return the policies that there are: of the file, at least one; without a file, all that can be found.

        Raises:
            PolicyError: It has none, or cannot be run; the message has its own lines only.
        """
        known = self._loop.run(self._scripts.look())
        if self._path is None:
            return sorted(known.policies)
        own = [name for name, listed in known.policies.items() if listed.origin == str(self._path)]
        problem = known.problems.get(str(self._path)) or known.problems.get("process")
        if problem is not None:
            raise PolicyError(f"policy {self.file}: {self._told(problem)}")
        return own

    def settle(self, name: str, given: Mapping[str, Any]) -> None:
        """Check settings of a policy.

        Raises:
            OperatorError: There is no such policy, or a setting is wrong.
            PolicyError: The file cannot be run, or the policy's own check fails.
        """
        names = self.names()
        if name not in names:
            whose = f"{self.file} has" if self._path else "there is"
            raise OperatorError(f"{whose} no policy {name!r}: there are {', '.join(names)}{self._or_a_file()}")
        with self._telling():
            self._loop.run(self._scripts.settle(name, given))

    def _or_a_file(self) -> str:
        return "" if self._path else "; or give a .py file"

    def asked(self, name: str, given: Mapping[str, Any]) -> type[Policy]:
        """Return a policy that has its plans from there."""

        class Asked(Policy):
            name: ClassVar[str]

            def plan(_, view: View, settings: Any) -> Plan:  # noqa: ARG002, N805 (its process has the settings)
                return self._plan(name, given, view)

        Asked.name = name
        return Asked

    def _plan(self, name: str, given: Mapping[str, Any], view: View) -> Plan:
        try:
            return read_plan(self._loop.run(self._scripts.plan(name, given, view_json(view))), view)
        except (OperatorError, PolicyError) as error:
            # Who asks says whose error it is.
            said = self._told(str(error)).removeprefix(f"policy {name!r}").removeprefix(":").strip()
            raise PolicyError(said) from error

    def _placed(self, stack: ExitStack, source: str) -> Path:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vballoond-policy-")))
        # Files whose names begin so are passed over in a directory of policies, but here it was named.
        self._path = directory / (Path(self.file).name.lstrip("._") or "policy.py")
        self._path.write_text(source, "utf-8")
        return directory

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OperatorError as error:
            raise OperatorError(self._told(error.detail)) from error
        except PolicyError as error:
            raise PolicyError(self._told(str(error))) from error

    def _told(self, text: str) -> str:
        return text if self._path is None else text.replace(str(self._path), self.file)
