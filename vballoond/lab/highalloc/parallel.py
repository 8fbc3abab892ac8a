"""Many runs at once, each in a process of its own.

Rules of this file:

- A run shares nothing with another: a process is spawned for it, imports afresh, and ends with it. So which run a dead
  process was for is never in doubt.
- Ctrl-C in a terminal reaches every process of the command. The workers begin with SIGINT blocked and stay so; whoever
  called is interrupted alone, and on the way out ends them.
- A worker whose parent is gone ends at its next report.
"""

import contextlib
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Final, Protocol

from .result import RunResult
from .setting import Setting

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


@dataclass(frozen=True, slots=True)
class Job:
    """One run that is to be made."""

    seed: int
    balloon_compaction: bool

    def __str__(self) -> str:
        return f"seed {self.seed}, {'patched' if self.balloon_compaction else 'clean'}"


def jobs_for(seeds: Sequence[int]) -> list[Job]:
    """Return both kinds of run for each seed, in the order of the seeds, clean first."""
    return [Job(seed, balloon_compaction) for seed in seeds for balloon_compaction in (False, True)]


class Run(Protocol):
    """Makes one run; importable by name, since another process calls it."""

    def __call__(
        self, setting: Setting, seed: int, *, balloon_compaction: bool, progress: Callable[[float], None]
    ) -> RunResult:
        """Return what the run came to, telling ``progress`` its share done (0 to 1) meanwhile."""


class Observer(Protocol):
    """Is told how runs go on."""

    def progressed(self, job: Job, share: float) -> None:
        """So much of a run is done, 0 to 1."""

    def finished(self, job: Job, result: RunResult) -> None:
        """A run has ended well."""


class WorkerDiedError(Exception):
    """A run ended without a result; the message says which one, and how its process ended."""

    def __init__(self, job: Job, exitcode: int) -> None:
        super().__init__(f"the run with {job} died: {_how(exitcode)}")


def _how(exitcode: int) -> str:
    if exitcode < 0:
        return f"killed by signal {-exitcode} ({signal.strsignal(-exitcode)})"
    return f"its process ended with status {exitcode}"


def run_all(setting: Setting, jobs: Sequence[Job], run: Run, *, processes: int, observer: Observer) -> list[RunResult]:
    """Make all runs, ``processes`` at a time, and return their results in the order of ``jobs``.

    However it ends, by KeyboardInterrupt too, no worker is left.

    Raises:
        WorkerDiedError: A worker ended without a result. The other runs are given up.
    """
    pool = _Pool(setting, run, observer)
    waiting = deque(jobs)
    try:
        while waiting or pool.running:
            while waiting and len(pool.running) < processes:
                pool.start(waiting.popleft())
            pool.hear()
    finally:
        pool.stop()
    return [pool.results[job] for job in jobs]


class _Pool:
    """The workers that are at it, by the pipe that each reports through."""

    def __init__(self, setting: Setting, run: Run, observer: Observer) -> None:
        self._setting = setting
        self._run = run
        self._observer = observer
        self.running: dict[Connection, tuple[Job, SpawnProcess]] = {}
        self.results: dict[Job, RunResult] = {}

    def start(self, job: Job) -> None:
        """Start a worker."""
        context = get_context("spawn")
        with _interrupts_held():
            reports, theirs = context.Pipe(duplex=False)
            with theirs:
                process = context.Process(target=_work, args=(theirs, self._run, self._setting, job), daemon=True)
                process.start()
            self.running[reports] = (job, process)

    def hear(self) -> None:
        """Wait until some worker reports, and pass on what is there."""
        for ready in wait(list(self.running)):
            assert isinstance(ready, Connection)
            job, process = self.running[ready]
            try:
                report = ready.recv()
            except (EOFError, OSError) as error:
                process.join()
                raise WorkerDiedError(job, process.exitcode or 0) from error
            if isinstance(report, RunResult):
                self._finish(ready, report)
            else:
                self._observer.progressed(job, report)

    def _finish(self, reports: Connection, result: RunResult) -> None:
        job, process = self.running[reports]
        process.join()
        reports.close()
        del self.running[reports]
        self.results[job] = result
        self._observer.finished(job, result)

    def stop(self) -> None:
        """End the workers that are left, and wait until they are gone."""
        for _, process in self.running.values():
            process.terminate()
        for reports, (_, process) in self.running.items():
            process.join()
            reports.close()
        self.running.clear()


_INTERRUPT: Final = frozenset({signal.SIGINT})


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C back: a process that is started meanwhile never sees it, this one sees it at the end."""
    resource_tracker.ensure_running()  # at its first start it lets signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(reports: Connection, run: Run, setting: Setting, job: Job) -> None:
    """Make one run, in a worker."""
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        result = run(
            setting,
            job.seed,
            balloon_compaction=job.balloon_compaction,
            progress=lambda share: reports.send(float(share)),
        )
        reports.send(result)
