"""One run: stretches of kills, and between them everything is looked at."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Self

from .api import Api
from .checks import check_descriptors, check_log, check_map, check_reached
from .guests import INSMOD, RMMOD, ConsoleGuest, Guests
from .holders import Holding, Kept, StandIn, open_descriptors
from .killing import Killer
from .plan import PROMISED_S, Plan
from .resizing import Resizer
from .violation import Violation
from .visitors import Idler, Visitor

_MAIN: Final = "vm1"
_IDLE: Final = "idle"
_LINE_EVERY: Final = 10
_UML_MIB: Final = (0, 32, 64, 128, 200, 300)
_QEMU_MIB: Final = (0, 16, 32, 64, 128)
_REST_MIB: Final = 48
_TOUCH: Final = "dd if=/dev/zero of=/tmp/half bs=1M count=200 2>/dev/null && rm /tmp/half"


def configuration(names: list[str], ring: str) -> str:
    """Return the daemon's configuration file."""
    balloons = [
        f'[[balloon]]\nname = "{name}"\ntransport = "vhost-user"\nsocket = "{name}.sock"\nring = "{ring}"\n'
        'features = ["must-tell-host", "stats", "page-poison", "page-reporting"]\nstats_interval_s = 0.2\n'
        for name in names
    ]
    return "\n".join(('[http]\nlisten = "unix:api.sock"\n[state]\ndirectory = "state"\n', *balloons))


class Run:
    """One run of a plan. Use it as an asynchronous context manager.

    Args:
        plan: The plan.
        directory: For its files; it stays the caller's.
        say: Prints a line.
    """

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self.log: Final = directory / "log"
        directory.chmod(0o755)  # QEMU may run as somebody else
        self._plan: Final = plan
        self._directory: Final = directory
        self._say: Final = say
        chance = random.Random(plan.seed)  # noqa: S311 (for a seed that brings it back)
        visitors = [f"visitor{number}" for number in range(plan.visitors)]
        config = directory / "vballoond.toml"
        config.write_text(configuration([_MAIN, _IDLE, *visitors], plan.ring))
        self.log.touch()
        self._api: Final = Api(directory / "api.sock")
        self._guests: Final = Guests(directory, with_qemu=plan.qemu)
        self._holding: Final[Holding] = (Kept if plan.holder == "keeper" else StandIn)(config, self.log)
        self._idler: Final = Idler(self._socket(_IDLE))
        targets = _QEMU_MIB if plan.qemu else _UML_MIB
        self._resizer: Final = Resizer(self._api, _MAIN, targets, random.Random(chance.random()))  # noqa: S311
        self._killer: Final = Killer(self._holding, self._api, random.Random(chance.random()))  # noqa: S311
        self._visitors: Final = [
            Visitor(self._api, self._guests, name, self._socket(name), self.log) for name in visitors
        ]
        self._stack: Final = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._stack.aclose()
        self._idler.close()
        await self._holding.kill()

    async def go(self) -> None:
        """Do all of it.

        Raises:
            Violation: Something was not as it must be.
        """
        try:
            await self._go()
        except AssertionError as error:  # of a guest that ended, or does not do what it is told
            raise Violation(str(error)) from error

    async def _go(self) -> None:
        await self._holding.start()
        guest = await self._boot()
        await self._idler.connect()
        await self._rest(guest)
        holders = self._holding.descriptors()
        workers = open_descriptors(await self._pid())
        while self._killer.kills < self._plan.kills:
            await self._stretch(min(self._plan.kills, self._killer.kills + self._plan.check_every))
            await self._rest(guest)
            await check_descriptors("holder", holders, self._holding.descriptors)
            pid = await self._pid()
            await check_descriptors("worker", workers, lambda pid=pid: open_descriptors(pid))  # type: ignore[misc]
        await guest.run(RMMOD)
        await self._api.until(_MAIN, "paused")
        await check_log(_MAIN, guest)
        await self._end()

    async def _boot(self) -> ConsoleGuest:
        boot = self._guests.boot_qemu if self._plan.qemu else self._guests.boot
        await self._api.get("/healthz")
        guest = await self._stack.enter_async_context(boot(self._socket(_MAIN), 512))
        await guest.run(INSMOD)
        await guest.run(_TOUCH)
        return guest

    async def _stretch(self, until_kills: int) -> None:
        """Kill, while all others do what they do; nothing is under way afterwards."""
        ending = asyncio.Event()
        others: tuple[Resizer | Idler | Visitor, ...] = (self._resizer, self._idler, *self._visitors)
        try:
            async with asyncio.TaskGroup() as tasks:
                for other in others:
                    tasks.create_task(other.go_on(ending))
                await self._kill(until_kills)
                ending.set()
        except* (Violation, AssertionError) as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise Violation(str(first)) from first

    async def _kill(self, until_kills: int) -> None:
        said = self._killer.kills // _LINE_EVERY
        while self._killer.kills < until_kills:
            await self._killer.kill()
            self._holding.check()
            if self._killer.kills // _LINE_EVERY > said:
                said = self._killer.kills // _LINE_EVERY
                self._say(self.line())

    async def _rest(self, guest: ConsoleGuest) -> None:
        """Look at everything that there is to look at in one state."""
        self._holding.check()
        check_reached(await self._api.reach(_MAIN, _REST_MIB), _REST_MIB)
        await check_map(self._api, _MAIN, guest)
        await check_log(_MAIN, guest)

    async def _end(self) -> None:
        self._idler.close()
        await self._stack.aclose()
        await self._holding.end()
        left = [path.name for path in self._directory.glob("*.sock")]
        if left and not self._holding.goes_on:
            raise Violation(f"sockets are left behind: {', '.join(left)}")
        slow = [seconds for seconds in self._killer.restarts_s if seconds > PROMISED_S]
        if slow and self._plan.strict:
            raise Violation(f"{len(slow)} restarts took longer than {PROMISED_S:g} s, the longest {max(slow):.2f} s")

    async def _pid(self) -> int:
        return int((await self._api.get("/healthz"))["pid"])

    def _socket(self, name: str) -> Path:
        return self._directory / f"{name}.sock"

    def line(self) -> str:
        """Return how far it is."""
        times_s = sorted(self._killer.restarts_s) or [0.0]
        slow = sum(seconds > PROMISED_S for seconds in times_s)
        visits = sum(visitor.visits for visitor in self._visitors)
        too_early = sum(visitor.too_early for visitor in self._visitors)
        return (
            f"{self._killer.kills:4} kills, {self._resizer.reached} targets reached, {visits} visits"
            f"{f' ({too_early} not yet held)' if too_early else ''}, {self._idler.answers} answers; serving again "
            f"after {times_s[len(times_s) // 2]:.2f} s (median), {times_s[-1]:.2f} s (slowest)"
            f"{f', {slow} over {PROMISED_S:g} s' if slow else ''}"
        )
