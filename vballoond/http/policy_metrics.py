"""Who decides on the sizes of balloons, how that goes, and what is reserved, as metrics.

Rules of this file:

* No script is asked for this, and nobody looks at files: figures are those of the rounds that were.
* ``role`` is acting or shadow. Only the info metric names policies: series go on when another one is chosen.
* Wishes are the acting policy's for balloons that are there, so there are no more of them than balloons.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from ..policy.reservations import Reservation, State
from ..runner.runner import PolicyRunner
from ..service.balloon_service import BalloonService

_STATES: Final = get_args(State)
_ENDS: Final = ("claimed", "expired", "failed")
_LEVELS: Final = ("info", "warning")


def policy_metrics(policies: PolicyRunner, services: Iterable[BalloonService]) -> Iterator[Metric]:
    """Yield what there is to be told of ``policies``, and of their wishes for ``services``."""
    yield from _at_work(policies)
    yield from _rounds(policies)
    yield from _outcome(policies)
    yield _wishes(policies, services)
    yield from _reservations(policies.desk.book.reservations)
    yield _ended(policies.desk.ended)


def _at_work(policies: PolicyRunner) -> Iterator[Metric]:
    named = InfoMetricFamily("vballoond_policy", "Which policy acts, and which is in shadow.", labels=["role"])
    aside = GaugeMetricFamily(
        "vballoond_policy_set_aside", "1 where it failed so often that it is not asked any more.", labels=["role"]
    )
    for role, policy in zip(("acting", "shadow"), policies.at_work, strict=True):
        if policy is not None:
            named.add_metric([role], {"policy": policy.name})
            aside.add_metric([role], float(policy.set_aside))
    yield from (named, aside)
    yield GaugeMetricFamily(
        "vballoond_policy_interval_seconds", "How often a policy is asked.", value=policies.interval_s
    )


def _rounds(policies: PolicyRunner) -> Iterator[Metric]:
    rounds = CounterMetricFamily("vballoond_policy_rounds", "Times that a policy was asked.", labels=["role"])
    failed = CounterMetricFamily("vballoond_policy_rounds_failed", "Times that it had no plan.", labels=["role"])
    took = HistogramMetricFamily("vballoond_policy_round_duration_seconds", "How long it took.", labels=["role"])
    last = GaugeMetricFamily(
        "vballoond_policy_last_round_timestamp_seconds", "When it was asked last; of who is at work.", labels=["role"]
    )
    tallies = (policies.tally.acting, policies.tally.shadow)
    for role, asked, policy in zip(("acting", "shadow"), tallies, policies.at_work, strict=True):
        rounds.add_metric([role], asked.rounds)
        failed.add_metric([role], asked.failed)
        took.add_metric([role], asked.took_s.cumulative(), asked.took_s.sum)
        if asked.last_at_s is not None and policy is not None and not policy.idle:
            last.add_metric([role], asked.last_at_s)
    yield from (rounds, failed, took, last)


def _outcome(policies: PolicyRunner) -> Iterator[Metric]:
    tally = policies.tally
    orders = CounterMetricFamily(
        "vballoond_policy_orders", "Targets that rounds raised (inflate) or lowered (deflate).", labels=["direction"]
    )
    orders.add_metric(["inflate"], tally.inflations)
    orders.add_metric(["deflate"], tally.deflations)
    alerts = GaugeMetricFamily(
        "vballoond_policy_alerts", "What people should know by the newest round.", labels=["level"]
    )
    for level in _LEVELS:
        alerts.add_metric([level], tally.alerts[level] if _is_of_who_acts(policies) else 0)
    yield from (orders, alerts)


def _is_of_who_acts(policies: PolicyRunner) -> bool:
    """Whether the newest round is of the policy that acts now: one that is never asked has no rounds."""
    acting, _ = policies.at_work
    return policies.tally.newest_by == acting.name


def _wishes(policies: PolicyRunner, services: Iterable[BalloonService]) -> Metric:
    family = GaugeMetricFamily(
        "vballoond_policy_wished_bytes", "What the acting policy wishes the balloon to hold.", labels=["vm"]
    )
    wished = policies.tally.wished_bytes if _is_of_who_acts(policies) else {}
    for service in services:
        if service.settings.name in wished:
            family.add_metric([service.settings.name], wished[service.settings.name])
    return family


def _reservations(reservations: Sequence[Reservation]) -> Iterator[Metric]:
    states = Counter(reservation.state for reservation in reservations)
    family = GaugeMetricFamily(
        "vballoond_reservations", "Reservations that are remembered, by their state.", labels=["state"]
    )
    for state in _STATES:
        family.add_metric([state], states[state])
    yield family
    still_open = [reservation for reservation in reservations if reservation.open]
    for name, text, sizes in (
        ("wanted", "What open reservations ask for.", [each.wanted_bytes for each in still_open]),
        ("gathered", "What of it is there.", [each.gathered_bytes for each in still_open]),
    ):
        yield GaugeMetricFamily(f"vballoond_reservations_{name}_bytes", text, value=sum(sizes))


def _ended(ended: Counter[str]) -> Metric:
    family = CounterMetricFamily("vballoond_reservations_ended", "Reservations by how they ended.", labels=["state"])
    for state in _ENDS:
        family.add_metric([state], ended[state])
    return family
