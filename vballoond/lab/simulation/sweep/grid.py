"""Which runs a sweep is: each policy with each combination of settings, on each scenario, with each seed."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ....errors import OperatorError
from ..chosen_policy import ChosenPolicy, choose, parse_value
from ..host_scenario import read_scenario
from ..shipped import scenario_text
from .job import Job

MAX_JOBS: Final = 100_000
MAX_SEEDS: Final = 10_000
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


def jobs_of(
    policies: Sequence[str], scenarios: Sequence[str], seeds: Sequence[int], values: Mapping[str, Sequence[Any]]
) -> list[Job]:
    """Return the runs, those of one scenario together.

    Raises:
        OperatorError: A policy, a setting or a scenario is not there, or there are too many runs.
        PolicyError: A policy's file is none.
    """
    chosen = [variant for text in policies for variant in _variants(choose(text), values)]
    jobs = len(chosen) * len(scenarios) * len(seeds)
    if jobs > MAX_JOBS:
        raise OperatorError(f"{jobs} runs are asked for; {MAX_JOBS} are the most")
    texts = [scenario_text(name) for name in scenarios]
    for name, text in texts:
        read_scenario(text, name)
    return [Job(name, text, policy, seed) for name, text in texts for policy in chosen for seed in seeds]


def _variants(policy: ChosenPolicy, values: Mapping[str, Sequence[Any]]) -> list[ChosenPolicy]:
    combinations = itertools.product(*values.values())
    variants = [policy.with_settings(dict(zip(values, items, strict=True))) for items in combinations]
    for variant in variants:
        variant.checked()
    return variants
