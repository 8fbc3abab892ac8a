"""Policies asked in the test's own process: no process, no waiting, and time can be virtual."""

import asyncio
import copy
from collections.abc import Callable, Mapping
from typing import Any, Self

from support.policy_views import MIB

from vballoond.errors import OperatorError, PolicyError
from vballoond.policy import Plan, Policy, View, Wish
from vballoond.policy.asking import ask
from vballoond.policy.discover import Found, built_in
from vballoond.policy.plan import plan_json
from vballoond.policy.policy import check_settings
from vballoond.policy.view import read_view
from vballoond.runner.findings import Known, Listed


def policy(name: str, plan: Callable[[View], Plan]) -> type[Policy]:
    """Return a policy that answers what ``plan`` does."""

    class Scripted(Policy):
        """Does what a test says."""

        def plan(self, view, settings):  # noqa: ARG002
            return plan(view)

    Scripted.name = name
    return Scripted


class ScriptsHere:
    """Knows what is built in, and what a test adds to it.

    Attributes:
        views: What was shown, in order.
        stamps: By origin; another one is another content of a file.
        problems: What could not be loaded.
    """

    def __init__(self, *policies: type[Policy]) -> None:
        self._found = {found.policy.name: found for found in built_in()}
        self.views: list[View] = []
        self.stamps: dict[str, tuple[int, int, int]] = {}
        self.problems: dict[str, str] = {}
        self.closed = False
        self.restarts = 0
        self.ends_if_idle = 0
        for each in policies:
            self.add(each)

    def add(self, added: type[Policy]) -> None:
        """Have one more, or another of that name: as if its file had changed."""
        origin = f"{added.name}.py"
        self._found[added.name] = Found(added, origin, origin)
        self.stamps[origin] = (self.stamps.get(origin, (0, 0, 0))[0] + 1, 0, 0)

    async def look(self) -> Known:
        listed = {name: Listed.model_validate(found.shown()) for name, found in self._found.items()}
        return Known(listed, dict(self.problems), dict(self.stamps))

    async def settle(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return check_settings(self._find(name).policy, given).model_dump(mode="json")

    async def plan(self, name: str, settings: Mapping[str, Any], view: bytes) -> bytes:
        found, shown = self._find(name), read_view(view)
        self.views.append(shown)
        return plan_json(ask(found, shown, check_settings(found.policy, settings)))

    def beside(self) -> Self:
        """Others of the same; what a test has one of them do otherwise, the other does not."""
        return copy.copy(self)

    async def end_if_idle(self) -> None:
        self.ends_if_idle += 1

    async def restart(self) -> None:
        self.restarts += 1

    async def close(self) -> None:
        self.closed = True

    def _find(self, name: str) -> Found:
        if name not in self._found:
            raise OperatorError(f"there is no policy {name!r}", status=422, code="no-such-policy")
        return self._found[name]


class Thinking:
    """Has a policy think until it may answer."""

    def __init__(self, scripts: ScriptsHere, name: str) -> None:
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()
        answer = scripts.plan

        async def plan(asked: str, *more) -> bytes:
            if asked == name:
                self.asked.set()
                await self.may_answer.wait()
            return await answer(asked, *more)

        scripts.plan = plan


def wishing(name: str, **mib: float) -> type[Policy]:
    """Return a policy that always wishes the same."""
    return policy(
        name,
        lambda _: Plan(tuple(Wish(guest, int(size * MIB), f"{name} says so") for guest, size in mib.items())),
    )


def fails(message: str) -> Callable[[View], Plan]:
    """Return a plan that there is none."""

    def plan(view: View) -> Plan:  # noqa: ARG001
        raise PolicyError(message)

    return plan
