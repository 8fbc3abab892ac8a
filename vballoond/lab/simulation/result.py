"""What comes of one run, as plain data: it crosses processes and machines as JSON, and is kept in files."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from .measures import Measures


@dataclass(frozen=True, slots=True)
class Point:
    """The host at the end of one round, or of the run."""

    at_s: float
    available_bytes: int
    resident_bytes: int
    held_bytes: int
    target_bytes: int
    own_bytes: int
    swapped_bytes: int
    oom_kills: int
    stalls: int
    guests: int


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run. The same scenario, policy and seed give an equal one, wherever it is made, unless it was ``late``."""

    scenario: str
    policy: str
    seed: int
    reserve_bytes: int
    total_bytes: int
    measures: Measures
    decisions: str
    """SHA-256 of all orders in their order, with their times: equal only if all decisions are."""
    broken: tuple[str, ...]
    """What the scenario promises and did not get, in sentences."""
    problems: tuple[str, ...]
    """Of the policy, each once."""
    late: int
    """How often the policy had no answer in time. That depends on what else the machine does: where it is not 0,
    another run with the same policy and seed may come to something else."""
    curve: tuple[Point, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON data; scripts rely on its shape."""
        return asdict(self)

    def text(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.as_json(), allow_nan=False, sort_keys=True)


_ADAPTER: Final = TypeAdapter(RunResult)


def read_result(text: str) -> RunResult:
    """Return the result that ``text`` is.

    Raises:
        ValueError: It is none.
    """
    return _ADAPTER.validate_json(text)
