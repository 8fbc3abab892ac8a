"""One run: a scenario, a policy and a seed, in virtual time.

Rules of this file:

* Each virtual second guests run one after the other, and then the host is looked at. At the end of each interval there
  is a round of the policy, of each whole one. So a guest never runs while somebody decides, which differs from a
  daemon's host by less than a round.
* Nothing but scenario, policy and seed decides what comes of it: no clock, no chance of this process.
* What must hold is checked in each round (``promises``), and what the scenario promises at the end, too.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Final

from ...policy import View
from ...policy.guard.decision import Order
from ...policy.reservations import Reservation, ask, claim
from . import promises
from .chosen_policy import ChosenPolicy
from .host_memory import HostMemory
from .host_scenario import Asked, HostScenario
from .ledger import ledger
from .measures import GuestTally, HostTally, RoundTally, measures_of
from .page_guest import PageGuest
from .policy_process import TIME_LIMIT_S
from .population import Population
from .result import Point, RunResult
from .rounds import Outcome, PolicyRounds

TICK_S: Final = 1.0
MAX_PROBLEMS: Final = 20
MAX_BROKEN: Final = 20

Progress = Callable[[float], None]


def run(
    name: str,
    scenario: HostScenario,
    policy: ChosenPolicy,
    seed: int,
    progress: Progress,
    time_limit_s: float = TIME_LIMIT_S,
) -> RunResult:
    """Do one run.

    Args:
        name: Of the scenario, for people.
        scenario: What is tried.
        policy: What steers.
        seed: Of all chance in it: the same seed gives the same result.
        progress: Told how much is done, from 0 to 1, once in each round.
        time_limit_s: How long a policy that is not built in may take for each answer; else that is a failure of it.

    Raises:
        BrokenRuleError: Something does not hold that must, whatever the policy.
        OperatorError: There is no such policy, its settings are wrong, or a reservation cannot be asked for.
        PolicyError: The policy's file cannot be run.
        OSError: This machine has not got the memory.
    """
    with policy.on(scenario.settings).at_work(time_limit_s) as (found, settings):
        simulation = _Simulation(scenario, PolicyRounds(found, settings, scenario.guard.limits), seed)
        try:
            simulation.run(progress)
            return simulation.result(name, policy.label, seed)
        finally:
            simulation.close()


class _Simulation:
    def __init__(self, scenario: HostScenario, rounds: PolicyRounds, seed: int) -> None:
        self._scenario: Final = scenario
        self._rounds: Final = rounds
        self._population: Final = Population(scenario, seed, self._gone)
        self._host: Final = HostMemory(scenario.host)
        self._asked: Final = sorted(scenario.reservation, key=lambda asked: asked.at_s)
        self._for_guest: Final[dict[int, str]] = {}
        self._tallies: Final[dict[str, GuestTally]] = {}
        self._directions: Final[dict[str, int]] = {}
        self._time: Final = HostTally()
        self._sums: Final = RoundTally()
        self._decisions: Final = hashlib.sha256()
        self._broken: Final[dict[str, str]] = {}
        self._problems: Final[dict[str, None]] = {}
        self._curve: Final[list[Point]] = []

    def run(self, progress: Progress) -> None:
        now_s, round_s = 0.0, self._scenario.interval_s
        while now_s < self._scenario.duration_s:
            self._population.at(now_s)
            now_s += TICK_S
            self._tick(now_s)
            if now_s >= round_s:
                round_s += self._scenario.interval_s
                self._round(now_s)
                progress(min(1.0, now_s / self._scenario.duration_s))
        if self._curve[-1].at_s < now_s:
            self._look_back(now_s)

    def close(self) -> None:
        self._population.close()

    # A second.

    def _tick(self, now_s: float) -> None:
        guests = self._population.guests.values()
        for guest in guests:
            guest.run(TICK_S, now_s)
        resident = sum(guest.resident_bytes() for guest in guests)
        self._host.settle(resident, now_s, TICK_S)
        use, reserve = self._host.use, self._scenario.host.reserve
        self._time.add(use, sum(guest.held_bytes for guest in guests), reserve, TICK_S)
        if self._scenario.promise.reserve_kept and use.available_bytes < reserve:
            sentence = promises.reserve_broken(now_s, use.available_bytes, reserve, use.own_bytes, use.resident_bytes)
            self._broken.setdefault("reserve", sentence)

    # A round.

    def _round(self, now_s: float) -> None:
        guests = self._population.guests
        view = View(now_s=now_s, host=self._host.view(), guests=tuple(guest.view(now_s) for guest in guests.values()))
        self._ask_for_reservations(view)
        outcome = self._rounds.decide(view)
        orders = outcome.decisions.orders if outcome.decisions is not None else ()
        self._check(outcome, orders, now_s)
        self._carry_out(orders, now_s)
        self._count(outcome)
        for reservation in outcome.changed:
            self._reservation_changed(reservation, now_s)
        self._look_back(now_s)

    def _look_back(self, now_s: float) -> None:
        self._check_promises(now_s)
        self._curve.append(self._point(now_s))

    def _ask_for_reservations(self, view: View) -> None:
        while self._asked and self._asked[0].at_s <= view.now_s:
            self._ask(self._asked.pop(0), view)

    def _ask(self, asked: Asked, view: View) -> None:
        self._rounds.book, reservation = ask(
            self._rounds.book, view, asked.size, within_s=asked.within_s, keep_s=asked.keep_s
        )
        if asked.guest is not None:
            self._for_guest[reservation.id] = asked.guest

    def _reservation_changed(self, reservation: Reservation, now_s: float) -> None:
        self._sums.reservations_failed += reservation.state == "failed"
        if reservation.state != "ready":
            return
        self._sums.reservations_ready += 1
        guest = self._for_guest.get(reservation.id)
        if guest is not None:
            self._rounds.book = claim(self._rounds.book, reservation.id, now_s, guest)
            self._population.come(guest, now_s)

    def _check(self, outcome: Outcome, orders: tuple[Order, ...], now_s: float) -> None:
        guests = self._population.guests.values()
        for guest in guests:
            promises.check_guest(guest, now_s)
        promises.check_orders(outcome.view, orders)
        promises.check_ledger(ledger(self._scenario.host.memory, self._host.use, guests), now_s)

    def _carry_out(self, orders: tuple[Order, ...], now_s: float) -> None:
        for order in orders:
            guest = self._population.guests[order.guest]
            direction = 1 if order.target_bytes > guest.target_bytes else -1
            if self._directions.get(order.guest, direction) != direction:
                tally = self._tally(order.guest)
                self._tallies[order.guest] = replace(tally, turns=tally.turns + 1)
            self._directions[order.guest] = direction
            guest.target_bytes = order.target_bytes
        said = [now_s, [asdict(order) for order in orders]]
        self._decisions.update(json.dumps(said, sort_keys=True).encode())

    def _count(self, outcome: Outcome) -> None:
        if outcome.decisions is not None:
            self._sums.orders += len(outcome.decisions.orders)
        self._sums.alerts += len(outcome.alerts)
        self._sums.late += outcome.late
        if outcome.problem is not None:
            self._sums.policy_failures += 1
            if len(self._problems) < MAX_PROBLEMS:
                self._problems[outcome.problem] = None

    def _check_promises(self, now_s: float) -> None:
        promise = self._scenario.promise
        for name, guest in self._population.guests.items():
            self._tallies[name] = self._tally(name).counted(guest)
        for name, tally in self._tallies.items():
            if promise.most_turns is not None and tally.turns > promise.most_turns:
                sentence = promises.too_many_turns(now_s, name, tally.turns, promise.most_turns)
                self._broken.setdefault(f"turns {name}", sentence)
        kills = sum(tally.oom_kills for tally in self._tallies.values())
        if promise.most_oom_kills is not None and kills > promise.most_oom_kills:
            worst = max(self._tallies.values(), key=lambda tally: tally.oom_kills)
            sentence = promises.too_many_kills(now_s, worst.name, kills, promise.most_oom_kills)
            self._broken.setdefault("kills", sentence)

    def _tally(self, name: str) -> GuestTally:
        return self._tallies.get(name) or GuestTally(name)

    def _gone(self, guest: PageGuest) -> None:
        self._tallies[guest.name] = self._tally(guest.name).counted(guest)

    # What comes of it.

    def _point(self, now_s: float) -> Point:
        guests, use = self._population.guests.values(), self._host.use
        return Point(
            at_s=now_s,
            available_bytes=use.available_bytes,
            resident_bytes=use.resident_bytes,
            held_bytes=sum(guest.held_bytes for guest in guests),
            target_bytes=sum(guest.target_bytes for guest in guests),
            own_bytes=use.own_bytes,
            swapped_bytes=use.swapped_bytes,
            oom_kills=sum(tally.oom_kills for tally in self._tallies.values()),
            stalls=sum(tally.stalls for tally in self._tallies.values()),
            guests=len(guests),
        )

    def result(self, scenario: str, policy: str, seed: int) -> RunResult:
        self._population.close()
        measures = measures_of(self._time, self._sums, list(self._tallies.values()), self._host.pressure.some.total_us)
        return RunResult(
            scenario=scenario,
            policy=policy,
            seed=seed,
            reserve_bytes=self._scenario.host.reserve,
            total_bytes=self._scenario.host.memory,
            measures=measures,
            decisions=self._decisions.hexdigest(),
            broken=tuple(self._broken.values())[:MAX_BROKEN],
            problems=tuple(self._problems),
            late=self._sums.late,
            curve=tuple(self._curve),
        )
