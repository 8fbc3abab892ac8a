"""Guests that come and go while workers are killed, and a front-end that just stays."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from .api import Api
from .checks import check_log, check_map, check_reached
from .guests import INSMOD, ConsoleGuest, FakeFrontEnd, FakeGuest, Guests, uml_connect
from .violation import Violation

MEMORY_MIB: Final = 96
_TARGET_MIB: Final = 24
_PAUSE_S: Final = 0.05


class Visitor:
    """Boots, inflates, powers off, again and again.

    Args:
        api: The API.
        guests: Boots them.
        name: The balloon.
        socket: Its socket.
        log: The daemon's log.
    """

    def __init__(self, api: Api, guests: Guests, name: str, socket: Path, log: Path) -> None:
        self.visits = 0
        self.too_early = 0
        self._api: Final = api
        self._guests: Final = guests
        self._name: Final = name
        self._socket: Final = socket
        self._log: Final = log

    async def go_on(self, ending: asyncio.Event) -> None:
        """Visit until ``ending``; nobody is there then.

        Raises:
            Violation: A guest has found something wrong.
        """
        while not ending.is_set():
            log_bytes = self._log.stat().st_size
            async with self._guests.boot(self._socket, MEMORY_MIB) as guest:
                if await guest.run("ls /sys/bus/virtio/devices"):
                    await self._visit(guest)
                else:
                    self._lost(log_bytes)
                await guest.power_off()
            await self._api.until(self._name, "waiting")

    async def _visit(self, guest: ConsoleGuest) -> None:
        await guest.run(INSMOD)
        for target_mib in (_TARGET_MIB, _TARGET_MIB // 3):
            check_reached(await self._api.reach(self._name, target_mib), target_mib)
            await check_map(self._api, self._name, guest)
        await check_log(self._name, guest)
        self.visits += 1

    def _lost(self, log_bytes: int) -> None:
        """Allow for a connection that died with the worker that had just accepted it: no holder had it."""
        with self._log.open("rb") as log:
            log.seek(log_bytes)
            lines = log.read().decode(errors="replace").splitlines()
        if any(self._name in line and ("front-end connected" in line or "taken over" in line) for line in lines):
            raise Violation(f"{self._name} lost a connection that the holder had")
        self.too_early += 1


class Idler:
    """A front-end whose guest has no driver: it stays connected, and asks a question now and then.

    Args:
        socket: The balloon's socket.
    """

    def __init__(self, socket: Path) -> None:
        self.answers = 0
        self._socket: Final = socket
        self._guest: Final = FakeGuest()
        self._front_end: FakeFrontEnd | None = None
        self._features = 0

    async def connect(self) -> None:
        """Connect, before anybody is killed."""
        self._front_end = await FakeFrontEnd.connect(self._socket, self._guest)
        self._features = await uml_connect(self._front_end)

    async def go_on(self, ending: asyncio.Event) -> None:
        """Ask until ``ending``.

        Raises:
            Violation: The answer is another, there is none, or the connection is closed.
        """
        assert self._front_end is not None
        while not ending.is_set():
            try:
                features = await self._front_end.number(1)
            except (AssertionError, OSError, TimeoutError) as error:
                raise Violation(f"the front-end that just stays is not answered any more: {error!r}") from error
            if features != self._features:
                raise Violation(f"other features are offered than before: {features:#x}, not {self._features:#x}")
            self.answers += 1
            await asyncio.sleep(_PAUSE_S)

    def close(self) -> None:
        """Leave."""
        if self._front_end is not None:
            self._front_end.close()
        with contextlib.suppress(OSError):
            self._guest.close()
