"""Runs on this machine, a few processes at a time.

Ctrl-C in a terminal reaches every process of the command: workers leave it to whoever called, who ends them.
"""

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ....errors import OperatorError
from .job import Job, run_job
from .observer import Observer

if TYPE_CHECKING:
    from ..result import RunResult


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
    with _none_left(), ProcessPoolExecutor(most, mp_context=context, initializer=_ignore_interrupts) as pool:
        futures = {pool.submit(run_job, job): job for job in jobs}
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


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _none_left() -> Iterator[None]:
    """End workers that are at it when something goes wrong; a pool by itself waits for them."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
