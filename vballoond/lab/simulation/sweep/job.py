"""One run of many, as plain data: it has all that it needs in it, so it can be made in any process, on any machine."""

import hashlib
import json
from dataclasses import dataclass, field

from ....errors import OperatorError
from ..chosen_policy import ChosenPolicy
from ..host_scenario import read_scenario
from ..policy_process import TIME_LIMIT_S
from ..result import RunResult
from ..run import run
from .program import program


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    scenario: str
    text: str
    """The scenario itself."""
    policy: ChosenPolicy
    seed: int
    time_limit_s: float = TIME_LIMIT_S
    """How long a policy that is not built in may take for each answer."""
    program: str = field(default_factory=program)
    """What asked for it: nothing else may make it."""

    @property
    def key(self) -> str:
        """What the run is known by: the same for the same content, whatever the files are called now.

        The time limit is not in it: what it decides is late, and not kept.
        """
        content = [self.scenario, self.text, self.policy.name, self.policy.settings, self.policy.source, self.seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def attempt(self) -> str:
        """What making it here and now is known by, among those who may be asked the same by others at the time."""
        return f"{self.key}-{self.program}-{self.time_limit_s:g}"

    @property
    def scenario_content(self) -> str:
        """What the scenario's text is known by."""
        return _known_by(self.text)

    @property
    def policy_content(self) -> str:
        """What the source of the policy is known by; "" where it is none of a file."""
        return "" if self.policy.source is None else _known_by(self.policy.source)

    def __str__(self) -> str:
        return f"{self.scenario}, {self.policy.label}, seed {self.seed}"


def _known_by(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_job(job: Job) -> RunResult:
    """Make the run.

    Raises:
        OperatorError: The program here is another than the one that asks; or as for ``run``.
        BrokenRuleError, PolicyError, OSError: As for ``run``.
    """
    if job.program != program():
        raise OperatorError(
            f"the program that is to make it ({program()}) is not the one that asks for it ({job.program}): "
            "install the same version on all machines"
        )
    scenario = read_scenario(job.text, job.scenario)
    return run(job.scenario, scenario, job.policy, job.seed, lambda _: None, job.time_limit_s)
