"""Sees every fact that reaches a balloon device, and lets a test wait for one instead of for a while."""

import asyncio
from collections.abc import Callable

from protocol.balloon.queues import QueueRole
from vballoond.balloon.facts import Fact, QueueStarted, Request


class FactLog:
    """An observer of a balloon: ``facts`` are all that came, in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self._changed = asyncio.Event()

    def __call__(self, fact: Fact) -> None:
        self.facts.append(fact)
        self._changed.set()

    def of(self, kind: type[Fact]) -> list[Fact]:
        """The facts of one kind."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def until(self, holds: Callable[[Fact], bool], *, times: int = 1) -> None:
        """Wait until ``times`` facts are such; the device has taken them in by then."""
        while sum(map(holds, self.facts)) < times:
            self._changed.clear()
            await self._changed.wait()

    async def until_started(self, role: QueueRole) -> None:
        """Wait until a queue was started."""
        await self.until(lambda fact: isinstance(fact, QueueStarted) and fact.role is role)

    async def until_requested(self, role: QueueRole, *, times: int = 1) -> None:
        """Wait until the device took in ``times`` requests of a queue."""
        await self.until(lambda fact: isinstance(fact, Request) and fact.role is role, times=times)
