"""Tells a service manager that the daemon does its work (sd_notify(3), WATCHDOG=1); one that hangs is replaced.

Rules of this file:

* A timer that ticks shows nothing but itself. Each time, work is asked for from everything that serves guests, and only
  when all of it was done is the service manager told.
* Nothing is done about what does not answer: the service manager ends the process, and the next one goes on.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .offload import Offload

_PER_INTERVAL: Final = 3  # one that comes late, and one that is lost, are not the end


def interval_of(environ: Mapping[str, str]) -> float | None:
    """Return within how many seconds this process is to be heard of (WATCHDOG_USEC, WATCHDOG_PID); None: need not be.

    What is malformed is as if it were not there, since it cannot be of a service manager.
    """
    interval_us, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    if pid != str(os.getpid()) or not (interval_us.isascii() and interval_us.isdecimal()):
        return None
    return int(interval_us) / 1e6 or None


class Watchdog:
    """Feeds a service manager's watchdog.

    Args:
        holder: Is told.
        offload: Must do work.
        probes: Gives what is to be called, of each balloon; each call returns once the balloon's task came round.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        holder: Holder | NoHolder,
        offload: Offload,
        probes: Callable[[], Iterable[Callable[[], Awaitable[None]]]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._holder: Final = holder
        self._offload: Final = offload
        self._probes: Final = probes
        self._sleep: Final = sleep

    async def run(self, interval_s: float) -> None:
        """Tell it of work done, three times in ``interval_s`` seconds, until cancelled."""
        while True:
            await self.feed()
            await self._sleep(interval_s / _PER_INTERVAL)

    async def feed(self) -> None:
        """Have everything do a little, and tell of it; never return where something hangs."""
        await self._offload.run(os.getpid)
        for probe in self._probes():
            await probe()
        await self._holder.watchdog()
