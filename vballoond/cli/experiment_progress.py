"""How far an experiment is: bars where a person watches, and a line for each run that is done."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..lab.highalloc.measures import PASSES
from ..lab.highalloc.parallel import Job
from ..lab.highalloc.result import RunResult


class ExperimentProgress:
    """Shows on standard error how runs go on. It has no thread of its own: what is told is shown at once.

    Args:
        runs: How many there will be.
        console: Where to write; standard error unless said otherwise.
    """

    def __init__(self, runs: int, console: Console | None = None) -> None:
        self._console: Final = console or Console(stderr=True, highlight=False)
        self._runs: Final = runs
        self._done = 0
        self._shares: Final[dict[Job, float]] = {}
        self._tasks: Final[dict[Job, TaskID]] = {}
        self._bars: Final = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._all: Final = self._bars.add_task(f"{runs} runs", total=runs)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()

    def progressed(self, job: Job, share: float) -> None:
        """Move the run's bar, and that of all runs."""
        if job not in self._tasks:
            self._tasks[job] = self._bars.add_task(f"  {job}", total=1.0)
        self._shares[job] = share
        self._bars.update(self._tasks[job], completed=share)
        self._bars.update(self._all, completed=sum(self._shares.values()), refresh=True)

    def finished(self, job: Job, result: RunResult) -> None:
        """Say what the run came to, and take its bar away."""
        self.progressed(job, 1.0)
        self._bars.remove_task(self._tasks.pop(job))
        self._done += 1
        passes = ", ".join(f"{measure.title} {measure.of(result):.1f} %" for measure in PASSES)
        self._console.print(f"{job}: {passes} ({self._done} of {self._runs})")
