"""Policies at work: rounds in time, and what the API asks of them.

Rules of this file:

* Rounds wait for nobody, and nobody waits for a round: what the API asks of scripts is asked beside them, one question
  after the other. Whoever chooses another policy ends the round that is under way, which then comes to nothing.
* While nobody but ``static`` acts there are no rounds, and nothing is looked at but open reservations.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ..clock import Clock
from ..config.policy import PolicySettings
from ..errors import OperatorError
from ..events.log import EventLog
from ..offload import Offload
from ..policy.comparing import Difference
from ..policy.decision_log import DecisionLog
from ..policy.discover import built_in_named
from ..policy.guard.decision import Decisions
from ..policy.reservations import Reservation
from ..policy.view import View
from ..registry import Registry
from .acting import Acting
from .child import Bounds
from .desk import Desk
from .findings import Findings, Known
from .hands import Hands
from .host_memory import ReadHost, read_proc
from .keeping import Keeping, KeepKept, Remember, kept_nowhere, remembered_nowhere
from .kept import Chosen, Kept, configured
from .lookout import Lookout
from .reports import reservation_report, round_report
from .rounds import Rounds
from .scripts import Scripts, SeparateScripts
from .tally import Tally

STEP_S: Final = 1.0
"""How often open reservations are looked at."""

_OF_THE_PROCESS: Final = ("directory", "time_limit_s", "memory_limit")
"""Settings that another process for scripts is needed for."""

MakeScripts = Callable[[PolicySettings], Scripts]


def separate_scripts(settings: PolicySettings) -> Scripts:
    """Return policies in a process of their own."""
    return SeparateScripts(Findings(settings.directory), Bounds(settings.time_limit_s, settings.memory_limit))


@dataclass(frozen=True, slots=True)
class Status:
    """Who decides, and how that goes."""

    acting: Acting
    shadow: Acting | None
    known: Known
    differences: tuple[Difference, ...]
    by_hand_until_s: Mapping[str, float]


class PolicyRunner:
    """Has policies decide on the balloons of a registry.

    Args:
        settings: The configuration's.
        registry: The balloons.
        offload: Where what takes long is done.
        events: Is told what was decided.
        clock: The time.
        left: What an earlier process left.
        read_host: Reads the host's memory.
        make_scripts: Gives whom to ask.
        keep: Has what policies know for a process after this one.
        remember: Has all that was set at run time on disk.
    """

    def __init__(
        self,
        settings: PolicySettings,
        registry: Registry,
        offload: Offload,
        events: EventLog,
        clock: Clock,
        *,
        left: Kept | None = None,
        read_host: ReadHost = read_proc,
        make_scripts: MakeScripts = separate_scripts,
        keep: KeepKept = kept_nowhere,
        remember: Remember = remembered_nowhere,
    ) -> None:
        left = left or Kept()
        self._settings = settings
        self._registry: Final = registry
        self._make_scripts: Final = make_scripts
        self._events: Final = events
        self._hands: Final = Hands(left.hands_under(settings))
        self._lookout: Final = Lookout(lambda: registry, offload, read_host, settings)
        self.desk: Final = Desk(left.book, lambda it: events.publish("reservation", reservation=reservation_report(it)))
        scripts = make_scripts(settings)
        self._rounds: Final = Rounds(
            *(registry, self._lookout, scripts, self.desk, self._hands, offload, events, clock)
        )
        self._rounds.by_hand_s = settings.by_hand_s
        self._rounds.acting = left.active_under(settings)
        self._rounds.shadow = left.shadow.acting if left.shadow is not None else None
        self._hurry: Final = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._keeping: Final = Keeping(self.kept, keep, remember, clock.monotonic_s)

    # In time.

    def start(self) -> None:
        """Begin, in a task of the running event loop."""
        self._hands.know(self._registry)
        self._hurry.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="policy")

    async def close(self) -> None:
        """End; what a round was about to do is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.keep_what_was_set()
            self._task = None
        await self._rounds.close()

    async def round(self) -> None:
        """Do a round now."""
        rounds = self._rounds
        busy = not rounds.acting.idle or rounds.shadow is not None
        if busy or self._settings.directory is not None:
            await rounds.look_for_policies()
        moved = await rounds.round() if busy else False
        if not busy:
            rounds.rest()
            if self.desk.open:
                await rounds.step()
        await rounds.beside.end_if_idle()
        await self._keeping.keep(moved=moved)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            wait_s = min(due_s - loop.time(), STEP_S) if self.desk.open else due_s - loop.time()
            try:
                async with asyncio.timeout(wait_s):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            try:
                if self._hurry.is_set() or loop.time() >= due_s:
                    self._hurry.clear()
                    due_s = loop.time() + self._settings.interval_s
                    await self.round()
                elif self.desk.open and await self._rounds.step():
                    await self._keeping.keep()
            except Exception:  # noqa: BLE001 (a defect: balloons stay as they are, and the next round may do better)
                structlog.get_logger().exception("policy round not done")

    # For the daemon.

    def kept(self) -> Kept:
        """Return what is to outlive this process."""
        rounds = self._rounds
        return Kept(
            configured=configured(self._settings),
            active=Chosen.of(rounds.acting),
            shadow=Chosen.of(rounds.shadow) if rounds.shadow is not None else None,
            book=self.desk.book,
            by_hand_until_s=dict(self._hands.until_s),
        )

    async def keep_what_was_set(self) -> None:
        """Somebody has set something, a target perhaps: have it kept, and that it was set by hand."""
        if self._task is not None:  # before, not all balloons are there
            self._rounds.look_at_hands()
        await self._keeping.keep(moved=True)

    async def follow(self, settings: PolicySettings) -> list[str]:
        """Take another configuration; return what was done, for people."""
        if settings == self._settings:
            return []
        before, self._settings = self._settings, settings
        self._lookout.follow(settings)
        self._rounds.by_hand_s = settings.by_hand_s
        if configured(before) != configured(settings):
            self._rounds.choose(Acting(settings.name, settings.settings), self._rounds.shadow)
            self._hands.let_go(self._registry)
        if any(getattr(before, key) != getattr(settings, key) for key in _OF_THE_PROCESS):
            await self._rounds.ask_others(self._make_scripts(settings))
        await self._keeping.keep()
        self._hurry.set()
        return [f"policy {self._rounds.acting.name!r} acts under other settings"]

    # For the API.

    @property
    def log(self) -> DecisionLog:
        """What was decided, and why."""
        return self._rounds.log

    @property
    def tally(self) -> Tally:
        """What rounds came to, in figures."""
        return self._rounds.tally

    @property
    def at_work(self) -> tuple[Acting, Acting | None]:
        """Who acts, and who is in shadow, without looking whether there is another version of them."""
        return self._rounds.acting, self._rounds.shadow

    @property
    def interval_s(self) -> float:
        """How often a policy is asked."""
        return self._settings.interval_s

    async def status(self) -> Status:
        """Return who decides, and who could."""
        rounds = self._rounds
        known = rounds.known
        if not known.policies:  # later ones are seen by rounds: nobody who only asks is to wait for a script
            known = await rounds.look_for_policies(beside=True)
        self._rounds.look_at_hands()
        return Status(rounds.acting, rounds.shadow, known, rounds.differences, dict(self._hands.until_s))

    async def choose(self, acting: Acting | None, shadow: Acting | None, *, change_shadow: bool) -> None:
        """Have ``acting`` act from now on, and ``shadow`` be in shadow, as far as they are given.

        Raises:
            OperatorError: There is no such policy, or its settings are wrong; nothing has changed.
            PolicyError: It cannot check its settings; nothing has changed.
        """
        acting = await self._settled(acting) if acting is not None else None
        shadow = await self._settled(shadow) if shadow is not None else None
        rounds = self._rounds
        rounds.choose(acting or rounds.acting, shadow if change_shadow else rounds.shadow)
        if acting is not None:
            self._hands.let_go(self._registry)
        await self._keeping.keep()
        self._events.publish("policy", **round_report(self._rounds.acting.name, (), (), None))
        self._hurry.set()

    async def plan(self, name: str | None, given: Mapping[str, Any] | None, snapshot: View | None) -> "Dry":
        """Return what a policy, the acting one by default, would do now or about ``snapshot``; nothing changes.

        Raises:
            OperatorError: There is no such policy, or its settings are wrong.
            PolicyError: It has no plan.
        """
        acting = self._rounds.acting
        asking = acting if name in {None, acting.name} and given is None else Acting(name or acting.name, given or {})
        settled = await self._settled(asking)
        self._rounds.look_at_hands()
        view, decisions = await self._rounds.dry(settled, snapshot)
        return Dry(settled, view, decisions)

    async def snapshot(self) -> View:
        """Return what a policy would see now."""
        return await self._rounds.snapshot()

    async def reserve(self, wanted_bytes: int, *, within_s: float, keep_s: float, purpose: str) -> Reservation:
        """Ask for memory; policies hear of it at once.

        Raises:
            OperatorError: It cannot be had; nothing has changed.
        """
        view = await self._rounds.snapshot()
        made = self.desk.ask(view, wanted_bytes, within_s=within_s, keep_s=keep_s, purpose=purpose)
        await self._keeping.keep()
        if made.state != "ready":
            self._hurry.set()
        return made

    async def claim(self, number: int, guest: str | None) -> Reservation:
        """Let go of a ready reservation for who asked for it, as ``guest`` takes it.

        Raises:
            OperatorError: There is none, or it is not ready, or there is no such balloon.
        """
        if guest is not None:
            self._registry.find(guest)
        claimed = self.desk.claim(number, self._rounds.now_s, guest)
        await self._keeping.keep()
        return claimed

    async def cancel(self, number: int) -> None:
        """Let go of a reservation that is not needed.

        Raises:
            OperatorError: There is none.
        """
        self.desk.cancel(number, self._rounds.now_s)
        await self._keeping.keep()

    async def _settled(self, asking: Acting) -> Acting:
        known = self._rounds.known
        if built_in_named(asking.name) is None:
            known = await self._rounds.look_for_policies(beside=True)
            if asking.name not in known.policies:
                there = ", ".join(sorted(known.policies))
                detail = f"there is no policy {asking.name!r}; there are: {there}"
                raise OperatorError(detail, status=422, code="no-such-policy")
        settings = await self._rounds.beside.settle(asking.name, asking.settings)
        return Acting(asking.name, settings, asking.memory).known_by(known)


@dataclass(frozen=True, slots=True)
class Dry:
    """What a policy would do."""

    acting: Acting
    view: View
    decisions: Decisions
