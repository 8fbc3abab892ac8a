"""One run of many, as plain data: it has all that it needs in it, so it can be made in any process, on any machine."""

import hashlib
import json
from dataclasses import asdict, dataclass

from ..chosen_policy import ChosenPolicy
from ..host_scenario import read_scenario
from ..result import RunResult
from ..run import run


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    scenario: str
    text: str
    """The scenario itself."""
    policy: ChosenPolicy
    seed: int

    @property
    def key(self) -> str:
        """What the run is known by: the same for the same content, whatever the files are called now."""
        content = [self.scenario, self.text, self.policy.name, self.policy.settings, self.policy.source, self.seed]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.scenario}, {self.policy.label}, seed {self.seed}"

    def data(self) -> dict[str, object]:
        """Return it as plain data, for whoever sends it elsewhere."""
        return asdict(self)


def run_job(job: Job) -> RunResult:
    """Make the run.

    Raises:
        BrokenRuleError, OperatorError, PolicyError, OSError: As for ``run``.
    """
    return run(job.scenario, read_scenario(job.text, job.scenario), job.policy, job.seed, lambda _: None)
