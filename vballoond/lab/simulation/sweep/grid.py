"""Which runs a sweep is: each policy with each combination of settings, on each scenario, with each seed."""

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ....errors import OperatorError
from ....policy.discover import built_in
from ..chosen_policy import ChosenPolicy, check, choose, parse_value, told_apart
from ..host_scenario import HostScenario, read_scenario
from ..policy_process import TIME_LIMIT_S
from ..shipped import scenario_text
from .job import Job

MAX_JOBS: Final = 100_000
MAX_SEEDS: Final = 10_000
_CLOSE: Final = 0.8
"""Of 1: so much alike are a name and the same with a slip in it."""
_ADDRESS: Final = re.compile(r"(tcp|tls)://([^\s/:\[\]]+|\[[0-9a-fA-F:.%]+\]):(?P<port>\d{1,5})", re.ASCII)
_RANGE: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that ``text`` names, each once, in order.

    Raises:
        OperatorError: It is not such as ``1-20`` or ``1,4,7-9``.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last - first >= MAX_SEEDS:
            raise OperatorError(f"seeds {text!r}: write such as 1-20 or 1,4,7-9, {MAX_SEEDS} at most")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


def parse_values(texts: Iterable[str]) -> dict[str, list[Any]]:
    """Return the values of each setting, of texts such as ``key=a,b,c``.

    Raises:
        OperatorError: One is not such, or two are for one key.
    """
    values: dict[str, list[Any]] = {}
    for text in texts:
        key, _, listed = text.partition("=")
        if not key or not listed or key in values:
            raise OperatorError(f"--set {text!r}: write key=a,b,c, once for each key")
        values[key] = [parse_value(value) for value in listed.split(",")]
    return values


def check_scheduler(address: str) -> None:
    """Return if ``address`` may be that of a Dask scheduler. With some others Dask never comes back.

    Raises:
        OperatorError: It is not such as ``tcp://host:8786``.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        raise OperatorError(f"no Dask scheduler at {address!r}: write tcp://HOST:PORT, or tls://HOST:PORT")


def jobs_of(
    policies: Sequence[str],
    scenarios: Sequence[str],
    seeds: Sequence[int],
    values: Mapping[str, Sequence[Any]],
    time_limit_s: float = TIME_LIMIT_S,
) -> list[Job]:
    """Return the runs, each once, those of one scenario together. All settings are checked, as they will be there.

    Raises:
        OperatorError: A policy, a setting or a scenario is not there or not right, or there are too many runs.
        PolicyError: A policy's file is none.
    """
    named = [choose(text, time_limit_s) for text in dict.fromkeys(policies)]
    jobs = len(named) * math.prod(map(len, values.values())) * len(scenarios) * len(seeds)
    if jobs > MAX_JOBS:
        raise OperatorError(f"{jobs} runs are asked for; {MAX_JOBS} are the most")
    chosen = told_apart(variant for one in named for variant in _variants(one, values))
    texts = [scenario_text(name) for name in scenarios]
    _check([read_scenario(text.text, text.where) for text in texts], chosen, named, time_limit_s)
    each = (
        Job(text.name, text.text, policy, seed, time_limit_s) for text in texts for policy in chosen for seed in seeds
    )
    return list({job.key: job for job in each}.values())


def doubts(jobs: Iterable[Job]) -> list[str]:
    """Return in sentences which settings of scenarios may be for a policy that is built in, and are for none.

    They are no errors: a scenario may have settings for a policy of a file, whether or not that is tried now.
    """
    jobs = list(jobs)
    known = [found.policy.name for found in built_in()]
    tried = {job.policy.name for job in jobs}
    return [
        f"scenario {name}: it has settings of {other!r}, which is not tried, and may be meant for {close[0]!r}"
        for name, text in dict.fromkeys((job.scenario, job.text) for job in jobs)
        for other in read_scenario(text, name).settings
        if other not in {*known, *tried} and (close := difflib.get_close_matches(other, known, 1, _CLOSE))
    ]


def _variants(policy: ChosenPolicy, values: Mapping[str, Sequence[Any]]) -> list[ChosenPolicy]:
    combinations = itertools.product(*values.values())
    return [policy.with_settings(dict(zip(values, items, strict=True))) for items in combinations]


def _check(
    scenarios: Iterable[HostScenario], chosen: Sequence[ChosenPolicy], checked: Sequence[ChosenPolicy], limit_s: float
) -> None:
    there = [policy.on(scenario.settings) for scenario in scenarios for policy in chosen]
    known = {(policy.name, policy.settings, policy.source) for policy in checked}
    check([one for one in dict.fromkeys(there) if (one.name, one.settings, one.source) not in known], limit_s)
