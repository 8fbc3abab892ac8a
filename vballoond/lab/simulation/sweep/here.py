"""Runs on this machine, a few processes at a time.

Rules of this file:

* Ctrl-C in a terminal reaches every process of the command: workers leave it to whoever called, who ends them.
* However a command ends, its workers end with it, and whatever they started or wrote meanwhile goes, too. Of a run that
  this process makes by itself that is up to who called (``endings``).
"""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ....errors import OperatorError
from ..endings import EndedError, end_in_time, told_to_end
from .job import Job, run_job
from .observer import Observer

if TYPE_CHECKING:
    from ..result import RunResult


_PR_SET_PDEATHSIG: Final = 1


def run_here(jobs: Sequence[Job], observer: Observer, *, processes: int) -> None:
    """Make all runs; with one process, in this one. However it ends, no worker is left.

    Raises:
        OperatorError: A worker was killed. What has ended by then was told.
    """
    if processes == 1 or len(jobs) == 1:
        for job in jobs:
            _tell(job, _made(job), observer)
        return
    context = multiprocessing.get_context("spawn")
    most = min(processes, len(jobs))
    with (
        ProcessPoolExecutor(most, mp_context=context, initializer=_become_worker, initargs=(os.getpid(),)) as pool,
        _none_at_it(),
    ):
        futures = {pool.submit(_in_a_worker, job): job for job in jobs}
        for future in as_completed(futures):
            if isinstance(future.exception(), BrokenProcessPool):
                raise OperatorError("a process that made a run was killed: perhaps there is too little memory")
            _tell(futures[future], future, observer)


def _made(job: Job) -> "Future[RunResult]":
    future: Future[RunResult] = Future()
    try:
        future.set_result(run_job(job))
    except Exception as error:  # noqa: BLE001 (told to the observer, as from another process)
        future.set_exception(error)
    return future


def _tell(job: Job, future: "Future[RunResult]", observer: Observer) -> None:
    error = future.exception()
    if error is None:
        observer.finished(job, future.result())
    elif isinstance(error, Exception):
        observer.failed(job, error)
    else:
        raise error


_at_a_run = False


def _become_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in {signal.SIGTERM, *told_to_end()}:
        signal.signal(number, _end)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _end(number: int, _: object) -> None:
    if _at_a_run:
        end_in_time()
        raise EndedError(number)
    os._exit(1)


def _in_a_worker(job: Job) -> "RunResult":
    global _at_a_run  # noqa: PLW0603 (a signal has nobody else to ask)
    try:
        _at_a_run = True
        return run_job(job)
    except EndedError:
        os._exit(1)
    finally:
        _at_a_run = False


@contextmanager
def _none_at_it() -> Iterator[None]:
    """End workers that are at it when something goes wrong; a pool that is left makes all runs before it ends."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
