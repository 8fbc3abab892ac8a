"""One round: look, ask, decide, carry out, tell.

Rules of this file:

* A policy that has no plan changes nothing: the targets stay, and what it did wrong is told once.
* What a policy returned is for the snapshot that it was shown. What was set by hand meanwhile is not touched.
* A policy in shadow is asked about the same snapshot after the acting one; what it wishes is kept, and not heard. The
  guard judges both by what it knew before the round.
* Whoever is chosen acts at once: a round that is under way then comes to nothing, and its script is ended.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Final

import structlog

from ..clock import Clock
from ..errors import OperatorError, PolicyError
from ..events.log import EventLog
from ..offload import Offload
from ..policy.comparing import Difference, compare
from ..policy.decision_log import DecisionLog
from ..policy.explain import Round
from ..policy.guard.decide import guard
from ..policy.guard.decision import Decisions, Order
from ..policy.guard.state import GuardState
from ..policy.plan import Alert, Plan, read_plan
from ..policy.showing import Shown, show
from ..policy.view import View, view_json
from ..registry import Registry
from .acting import STATIC, Acting
from .desk import Desk
from .findings import Known
from .hands import Hands
from .lookout import Lookout
from .reports import round_report
from .scripts import Scripts
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking a policy: a plan, or why there is none."""

    acting: Acting
    plan: Plan | None
    error: str | None
    took_s: float
    news: bool = False


class Rounds:
    """Does rounds over the daemon's balloons.

    Args:
        registry: The balloons.
        lookout: Takes snapshots.
        scripts: Are asked.
        desk: Has the reservations.
        hands: Knows what was set by hand.
        offload: Where what takes long is done.
        events: Is told.
        clock: The time.
    """

    def __init__(
        self,
        registry: Registry,
        lookout: Lookout,
        scripts: Scripts,
        desk: Desk,
        hands: Hands,
        offload: Offload,
        events: EventLog,
        clock: Clock,
    ) -> None:
        self.scripts = scripts
        self.beside = scripts.beside()
        """Whom to ask for those who are not to wait for a round."""
        self.by_hand_s = 0.0
        self.acting = Acting(STATIC)
        self.shadow: Acting | None = None
        self._choices = 0
        self._thinking: asyncio.Task[Plan] | None = None
        self.known = Known()
        self.differences: tuple[Difference, ...] = ()
        """What the one in shadow wished otherwise in the newest round."""
        self.log: Final = DecisionLog()
        self.tally: Final = Tally()
        self._registry: Final = registry
        self._lookout: Final = lookout
        self._desk: Final = desk
        self._hands: Final = hands
        self._offload: Final = offload
        self._events: Final = events
        self._clock: Final = clock
        self._epoch_s: Final = clock.now().timestamp() - clock.monotonic_s()
        self._state: GuardState | None = None
        self._alerts: tuple[Alert, ...] = ()

    @property
    def now_s(self) -> float:
        """The time of snapshots: it never goes back, and means the same to a process after this one."""
        return self._epoch_s + self._clock.monotonic_s()

    async def ask_others(self, scripts: Scripts) -> None:
        """Ask ``scripts`` from now on, those of before no more; return when they have ended."""
        self._break_off()
        old = self.scripts, self.beside
        self.scripts, self.beside = scripts, scripts.beside()
        await asyncio.gather(*(each.close() for each in old))

    def _break_off(self) -> None:
        """Have the round that is under way come to nothing."""
        self._choices += 1
        if self._thinking is not None and not self._thinking.cancelling():
            self._thinking.cancel()

    async def close(self) -> None:
        """End all scripts."""
        await asyncio.gather(self.scripts.close(), self.beside.close())

    async def look_for_policies(self, *, beside: bool = False) -> Known:
        """See which policies there are, ``beside`` the rounds or in one; tell what cannot be loaded."""
        scripts = self._whom(beside=beside)
        known = await scripts.look()
        if scripts is not self._whom(beside=beside):
            return await self.look_for_policies(beside=beside)
        before, self.known = self.known, known
        for origin, problem in self.known.problems.items():
            if before.problems.get(origin) != problem:
                structlog.get_logger().error("policy not loaded", origin=origin, reason=problem)
                self._events.publish("policy", **round_report(self.acting.name, (), (), problem))
        self.acting = self.acting.known_by(self.known)
        self.shadow = self.shadow.known_by(self.known) if self.shadow is not None else None
        return self.known

    def choose(self, acting: Acting, shadow: Acting | None) -> None:
        """Have ``acting`` act from now on, and ``shadow`` be in shadow; who thinks about a plan now thinks no more."""
        self._break_off()
        if shadow is not self.shadow:
            self.differences = ()
        self.acting, self.shadow = acting, shadow

    def _whom(self, *, beside: bool) -> Scripts:
        return self.beside if beside else self.scripts

    def look_at_hands(self) -> None:
        """See which targets somebody has set by hand until now."""
        self._hands.look(self._registry, self.now_s, self.by_hand_s)

    def rest(self) -> None:
        """Nobody decides for now: what the guard knew of guests will be of no use later."""
        self._state = None

    async def snapshot(self, *, keep: bool = False) -> View:
        """Return a snapshot of now, as the acting policy would be shown it."""
        view = await self._lookout.view(self.now_s, keep=keep)
        shown = await self._show(view, self._known_state(view))
        return replace(shown.view, memory=self.acting.memory)

    async def step(self) -> bool:
        """Look at the reservations only; say whether one has come to something."""
        return self._desk.step(await self.snapshot())

    async def round(self) -> bool:
        """Do a round of whoever acts, and of whoever is in shadow; say whether a target was set."""
        choices = self._choices
        self.look_at_hands()
        view = await self._lookout.view(self.now_s, keep=True)
        shown = await self._show(view, self._known_state(view))
        alerts = shown.alerts
        if self._desk.step(shown.view):
            shown = await self._show(shown.view, shown.state)
        view, state = shown.view, self._hands.without_orders(shown.state)
        if choices != self._choices:
            return False
        asked = await self._ask(self.acting, view)
        decisions = await self._decide(view, asked.plan, state) if asked.plan is not None else None
        if choices != self._choices:
            return False
        self.acting, self._state = asked.acting, state
        ordered = self._carry_out(decisions.orders) if decisions is not None else False
        if decisions is not None:
            self._state, alerts = decisions.state, (*decisions.alerts, *alerts)
        self.tally.acted(asked, view.now_s, decisions.explanations if decisions is not None else (), alerts)
        self._tell(asked, decisions, alerts, ordered=ordered)
        if not self.acting.idle or asked.error is not None:
            await self._record(view, asked, decisions, shadow=False)
        if self.shadow is not None and choices == self._choices:
            await self._in_shadow(view, asked.plan or Plan(), state)
        return ordered

    async def dry(self, asking: Acting, snapshot: View | None) -> tuple[View, Decisions]:
        """Return what a policy would do now, or about ``snapshot``; nothing changes.

        Raises:
            OperatorError: There is no such policy, or its settings are wrong.
            PolicyError: It has no plan.
        """
        limits = self._lookout.limits
        view = snapshot or replace(await self.snapshot(), memory=asking.memory)
        state = GuardState.knowing(view) if snapshot is not None else self._known_state(view)
        if snapshot is not None:
            shown = await self._show(snapshot, state)
            view, state = replace(shown.view, host=snapshot.host), shown.state
            asking = replace(asking, memory=snapshot.memory)
        plan = await self._plan(asking, view, beside=True)
        if snapshot is None and asking.name == self.acting.name:
            return view, await self._decide(view, plan, self._hands.without_orders(state))
        return view, await self._offload.run(guard, view, plan, state, limits)

    async def _show(self, view: View, state: GuardState) -> Shown:
        return await self._offload.run(show, view, state, self._desk.book, self._lookout.limits)

    def _known_state(self, view: View) -> GuardState:
        return self._state if self._state is not None else GuardState.knowing(view)

    async def _in_shadow(self, view: View, acting_plan: Plan, state: GuardState) -> None:
        assert self.shadow is not None
        choices = self._choices
        asked = await self._ask(self.shadow, view)
        decisions = None
        if asked.plan is not None:
            decisions = await self._offload.run(guard, view, asked.plan, state, self._lookout.limits)
        if choices != self._choices:
            return
        self.shadow = asked.acting
        self.tally.shadowed(asked, view.now_s)
        if asked.plan is not None:
            self.differences = compare(view, acting_plan, asked.plan)
        self._tell(asked, None, (), ordered=False)
        await self._record(view, asked, decisions, shadow=True)

    async def _ask(self, acting: Acting, view: View) -> Asked:
        if acting.set_aside:
            return Asked(acting, None, None, 0.0)
        began_s = self._clock.monotonic_s()
        self._thinking = asyncio.create_task(self._plan(acting, view))
        try:
            plan = await self._thinking
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return Asked(acting, None, None, 0.0)  # somebody else was chosen
        except (PolicyError, OperatorError) as error:
            report, news = str(error), acting.budget.is_news(str(error))
            took_s = self._clock.monotonic_s() - began_s
            failed = acting.failed(view.now_s, report)
            return Asked(failed, None, report, took_s, news=news or failed.set_aside)
        return Asked(acting.planned(plan), plan, None, self._clock.monotonic_s() - began_s)

    async def _plan(self, acting: Acting, view: View, *, beside: bool = False) -> Plan:
        if acting.idle:
            return Plan()
        view = replace(view, memory=acting.memory) if acting.memory != view.memory else view
        text = await self._offload.run(view_json, view)
        scripts = self._whom(beside=beside)
        returned = await scripts.plan(acting.name, acting.settings, text)
        try:
            return await self._offload.run(read_plan, returned, view)
        except PolicyError as error:
            await scripts.restart()  # where it was asked, the same was checked: that process is not what it was
            raise PolicyError(f"policy {acting.name!r}: {error}") from error

    async def _decide(self, view: View, plan: Plan, state: GuardState) -> Decisions:
        free = self._hands.without(plan)
        decisions = await self._offload.run(guard, view, free, state, self._lookout.limits)
        explained = (*decisions.explanations, *self._hands.explain(plan, view))
        return replace(decisions, explanations=explained)

    def _carry_out(self, orders: tuple[Order, ...]) -> bool:
        """Set targets, who gives first; say whether any was."""
        services = {service.settings.name: service for service in self._registry}
        done = [
            self._hands.order(services[order.guest], order.target_bytes) for order in orders if order.guest in services
        ]
        return any(done)

    def _tell(self, asked: Asked, decisions: Decisions | None, alerts: tuple[Alert, ...], *, ordered: bool) -> None:
        new_alerts = tuple(alert for alert in alerts if alert not in self._alerts)
        if asked.plan is not None and decisions is not None:
            self._alerts = alerts
        problem = asked.acting.problem if asked.news else None
        if problem is not None:
            structlog.get_logger().error("policy failed", policy=asked.acting.name, reason=problem)
        if not (ordered or new_alerts or problem is not None):
            return
        explanations = decisions.explanations if decisions is not None else ()
        self._events.publish("policy", **round_report(asked.acting.name, explanations, new_alerts, problem))

    async def _record(self, view: View, asked: Asked, decisions: Decisions | None, *, shadow: bool) -> None:
        acting = asked.acting
        if acting.set_aside and asked.error is None:
            return
        record = Round(
            at=self._clock.now(),
            policy=acting.name,
            settings=acting.settings,
            view=view,
            plan=asked.plan,
            decisions=decisions,
            error=asked.error,
            shadow=shadow,
            took_s=asked.took_s,
        )
        await self._offload.run(_append, self.log, record)


def _append(log: DecisionLog, record: Round) -> None:
    log.append(record.data())
