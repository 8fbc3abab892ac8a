"""How simulations go on: a bar where a person watches, and a line for each that has ended."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..lab.simulation.result import RunResult
    from ..lab.simulation.sweep.job import Job


@dataclass(slots=True)
class Told:
    """What came of the runs. ``keep`` is called with each that ended well, before it counts as ended.

    One whose policy ran out of time is none to be kept: the next time it may come to something else.
    """

    keep: "Callable[[Job, RunResult], None] | None" = None
    results: "dict[str, RunResult]" = field(default_factory=dict)
    """By the key of the job; only where nobody keeps them."""
    failures: list[str] = field(default_factory=list)


class RunsProgress:
    """Shows on standard error how runs go on. It has no thread of its own: what is told is shown at once.

    Args:
        runs: How many there will be.
        told: Where it is noted what came of them.
        console: Where to write; standard error unless said otherwise.
    """

    def __init__(self, runs: int, told: Told, console: Console | None = None) -> None:
        self._console: Final = console or Console(stderr=True, highlight=False)
        self._told: Final = told
        self._runs: Final = runs
        self._done = 0
        self._bar: Final = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._all: Final = self._bar.add_task("runs", total=runs)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def finished(self, job: "Job", result: "RunResult") -> None:
        """Keep the result, and say that it is there, or that it is none to be kept."""
        if self._told.keep is None:
            self._told.results[job.key] = result
        elif result.late:
            self.failed(job, PolicyError(_late(job, result)))
            return
        else:
            self._told.keep(job, result)
        failures = result.measures.policy_failures
        self._say(f"{job}: done" + (f", the policy failed {_times(failures)}" if failures else ""))

    def failed(self, job: "Job", error: Exception) -> None:
        """Say what went wrong."""
        self._told.failures.append(f"{job}: {error}")
        self._say(f"{job}: failed: {error}")

    def _say(self, text: str) -> None:
        self._done += 1
        self._bar.update(self._all, completed=self._done, refresh=True)
        self._console.print(f"{text} ({self._done} of {self._runs})", markup=False, emoji=False, soft_wrap=True)


def _late(job: "Job", result: "RunResult") -> str:
    return (
        f"the policy had no answer within {job.time_limit_s:g} s {_times(result.late)}, which depends on what else the "
        "machine does: it is not kept; --time-limit gives it longer, --jobs fewer beside it"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
