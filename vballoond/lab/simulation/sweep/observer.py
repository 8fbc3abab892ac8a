"""Who is told how the runs of a sweep go on."""

from typing import Protocol

from ..result import RunResult
from .job import Job


class Observer(Protocol):
    """Told once of each run, in whatever order they end, in the thread that asked for them."""

    def finished(self, job: Job, result: RunResult) -> None:
        """A run has ended well."""

    def failed(self, job: Job, error: Exception) -> None:
        """A run could not be made; the others go on."""
