"""Who watches a sweep in tests, and the sweep itself: small runs, two of which have the same policy and seed."""

from support.simulation import SMALL

from vballoond.lab.simulation.chosen_policy import ChosenPolicy, choose
from vballoond.lab.simulation.sweep.job import Job

JOBS_LOAD = '[[guest.load]]\nkind = "job"\nmin_mib = 1\nmax_mib = 8\ngrows_for_s = 5\n'


def small_jobs(policies=("shares", "watermark"), seeds=(1, 2)) -> list[Job]:
    """One run for each policy and seed."""
    return [Job("small", SMALL + JOBS_LOAD, choose(policy), seed) for policy in policies for seed in seeds]


TAKE = """
from vballoond.policy import Plan, Policy, Wish
class Take(Policy):
    name = "take"
    def plan(self, view, settings):
        return Plan(tuple(Wish.balloon(guest, 12 << 20, "test") for guest in view.able))
"""


def file_job(source: str = TAKE, name: str = "take") -> Job:
    """One whose policy is a file's, so that it runs in a process of its own."""
    return Job("small", SMALL, ChosenPolicy(name, file=f"{name}.py", source=source), 1)


def broken_job() -> Job:
    """One that cannot be made: its policy is not there."""
    return Job("small", SMALL, ChosenPolicy("gone"), 1)


class Notes:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.results = {}
        self.failures = {}

    def finished(self, job, result) -> None:
        self.results[job.key] = result

    def failed(self, job, error) -> None:
        self.failures[job.key] = str(error)
