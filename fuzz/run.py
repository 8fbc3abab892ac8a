"""One run: a daemon, garbage from all sides, and what must hold between the rounds and in the end."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from .account import Account
from .attacks import Attacks
from .daemon import MODELLED, VHOST_USER, Daemon, Usage, socket_of
from .finding import Finding
from .front_end import PATIENCE_S
from .messages import Messages
from .modelled import Modelled
from .requests import Requests
from .rings import GarbageRings
from .well_behaved import WellBehaved
from .worker import Crew, GoOn, Worker

_BOOT_S: Final = 180.0  # a modelled guest is compiled when it first boots on a machine
_POLL_S: Final = 0.02
_LOOKS: Final = 10


class Run:
    """A run with ``seed``, in ``directory``. Use it as a context manager.

    Args:
        seed: Of everything random.
        directory: Where the daemon's files are.
        only: Workers to have, all by default.
    """

    def __init__(self, seed: int, directory: Path, only: Sequence[str] = ()) -> None:
        self.daemon: Final = Daemon(directory)
        api = self.daemon.api
        self._guests: Final[list[WellBehaved | Modelled]] = [
            *(WellBehaved(name, socket_of(directory, name), api) for name in ("well-split", "well-packed")),
            Modelled(MODELLED, api),
        ]
        mutable = [name for name in VHOST_USER if name.startswith(("messages", "rings"))]
        garbage: list[Worker] = [
            *(Messages(name, socket_of(directory, name)) for name in ("messages-split", "messages-packed")),
            GarbageRings("rings-split", socket_of(directory, "rings-split"), packed=False),
            GarbageRings("rings-packed", socket_of(directory, "rings-packed"), packed=True),
            Attacks("attacks", socket_of(directory, "attacks"), api),
            Requests("requests", api, mutable, [*VHOST_USER, MODELLED]),
        ]
        everybody: list[Worker] = [*self._guests, *garbage]
        self.crew: Final = Crew([worker for worker in everybody if not only or worker.name in only], seed)

    def __enter__(self) -> Self:
        try:
            self._await_boot()
            self.account = Account(self._idle_usage())
        except BaseException:
            self.daemon.__exit__()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self.daemon.__exit__()

    @property
    def targets_reached(self) -> dict[str, int]:
        """How often each well-behaved guest reached a target."""
        return {guest.name: guest.targets_reached for guest in self._guests}

    def round(self, go_on: GoOn) -> None:
        """Have all workers do steps for as long as they are to go on.

        Raises:
            Finding: Something is wrong, then or with the daemon afterwards; the message says all of it.
        """
        failures = self.crew.round(lambda done: go_on(done) and not self.daemon.log.wrong)
        self._check_daemon([f"{failure.worker}, step {failure.step}: {failure.reason}" for failure in failures])

    def finish(self) -> None:
        """End the daemon, and see that it ends well and was flat.

        Raises:
            Finding: It does not, or was not.
        """
        problems = self.account.problems()
        try:
            self.daemon.end()
        except Finding as finding:
            problems.append(str(finding))
        self.daemon.log.join()
        self._raise(problems)

    def _check_daemon(self, problems: list[str]) -> None:
        if self.daemon.ended is not None:
            problems.insert(0, f"the daemon ended with status {self.daemon.ended}")
        elif not problems:
            try:
                self.daemon.api.get("/healthz")
                self._settle()
            except Finding as finding:
                problems.append(str(finding))
        self._raise(problems)

    def _settle(self) -> None:
        """Wait until the daemon has noticed that all have left."""
        until_s = time.monotonic() + PATIENCE_S
        while (usage := self.daemon.usage()).descriptors > self.account.usages[0].descriptors:
            if time.monotonic() > until_s:
                raise Finding(f"{usage.descriptors} descriptors, {self.account.usages[0].descriptors} before all came")
            time.sleep(_POLL_S)
        self.account.add(usage)

    def _idle_usage(self) -> Usage:
        """Return the usage when the requests are gone by which the daemon was asked whether it is there."""
        usages = []
        for _ in range(_LOOKS):
            time.sleep(_POLL_S)
            usages.append(self.daemon.usage())
        return min(usages, key=lambda usage: usage.descriptors)

    def _raise(self, problems: Sequence[str]) -> None:
        logged = [f"the daemon logs: {line.rstrip()}" for line in self.daemon.log.wrong]
        if problems or logged:
            raise Finding("\n".join((*problems, *logged)))

    def _await_boot(self) -> None:
        until_s = time.monotonic() + _BOOT_S
        while self.daemon.api.get(f"/v1/balloons/{MODELLED}")["state"] != "running":
            if time.monotonic() > until_s:
                raise Finding(f"the modelled guest does not boot within {_BOOT_S:g} s")
            time.sleep(_POLL_S)
