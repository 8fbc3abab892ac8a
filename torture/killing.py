"""When a worker is killed, and how long it takes until the next one serves."""

import asyncio
import os
import random
import signal
import time
from typing import Final

from .api import Api
from .holders import Holding
from .plan import BOUND_S
from .violation import Violation

_LONGEST_LIFE_S: Final = 0.8  # from its first answer on
_SHORTEST: Final = 0.25  # of the kills: while the next one is still starting
_STARTING_S: Final = 0.7
_LOOK_S: Final = 0.002


class Killer:
    """Kills workers.

    Args:
        holding: Whose worker it is.
        api: The API, by which it is seen that the next one serves.
        chance: Says when.
    """

    def __init__(self, holding: Holding, api: Api, chance: random.Random) -> None:
        self.kills = 0
        self.restarts_s: Final[list[float]] = []
        self._holding: Final = holding
        self._api: Final = api
        self._chance: Final = chance

    async def kill(self) -> None:
        """Kill the worker at some instant, and wait until another one serves.

        Raises:
            Violation: None does.
        """
        await asyncio.sleep(self._chance.uniform(0, _LONGEST_LIFE_S))
        pid = await self._kill_one()
        if self._chance.random() < _SHORTEST:
            await self._next(pid)
            await asyncio.sleep(self._chance.uniform(0, _STARTING_S))
            pid = await self._kill_one()
        killed_s = time.monotonic()
        while (await self._api.get("/healthz"))["pid"] == pid:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(_LOOK_S)
        self.restarts_s.append(time.monotonic() - killed_s)
        if self.restarts_s[-1] > BOUND_S:
            raise Violation(f"the worker after {pid} served {self.restarts_s[-1]:.1f} s after the kill")

    async def _kill_one(self) -> int:
        pid = await self._next(0)
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        return pid

    async def _next(self, pid: int) -> int:
        """Wait for a worker that is another than ``pid``."""
        ends_s = time.monotonic() + BOUND_S
        while (found := self._holding.worker()) in (None, pid):
            self._holding.check()
            if time.monotonic() > ends_s:
                raise Violation(f"no worker comes after {pid}")
            await asyncio.sleep(_LOOK_S)
        assert found is not None
        return found
