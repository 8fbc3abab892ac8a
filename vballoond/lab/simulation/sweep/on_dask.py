"""Runs on a Dask cluster.

Rules of this file:

* Dask comes with the extra "sweep", so nobody imports this file before a cluster is wanted.
* A job has all that it needs in it: a cluster's machines need this program, in the same version, and no files.
* A run is not kept on the cluster once it was told. Two commands share one only if both ask for it by the same program,
  with the same time limit.
"""

import asyncio
import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any, Final

import distributed

from ....errors import OperatorError
from ..result import RunResult
from .grid import check_scheduler
from .job import Job, run_job
from .observer import Observer

_CONNECT_S: Final = 10
_DASK: Final[Any] = distributed  # it has no types
_CANCELLED: Final = (asyncio.CancelledError, concurrent.futures.CancelledError)


def run_on_dask(
    jobs: Sequence[Job], observer: Observer, *, scheduler: str, note: Callable[[str], None] = lambda _: None
) -> None:
    """Make all runs on the cluster of ``scheduler``, such as ``tcp://host:8786``.

    ``note`` is told what people who wait should know: a cluster without workers may have some later.

    Raises:
        OperatorError: It cannot be reached.
    """
    check_scheduler(scheduler)
    try:
        client: Any = _DASK.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OperatorError(f"no Dask scheduler at {scheduler}: {error}") from error
    with client:
        if not client.nthreads():
            note(
                f"the cluster at {scheduler} has no workers yet: runs begin when one comes ('dask worker {scheduler}')"
            )
        run_with(client, jobs, observer)


def run_with(client: Any, jobs: Sequence[Job], observer: Observer) -> None:
    """Make all runs through a client that is connected.

    Raises:
        OperatorError: The connection is lost. What has ended by then was told.
    """
    by_key = {f"vballoond-{job.attempt}": job for job in jobs}
    futures = [client.submit(run_job, job, key=key) for key, job in by_key.items()]
    for future in _DASK.as_completed(futures, loop=client.loop):
        result, error = _ended(future)
        if result is not None:
            observer.finished(by_key[future.key], result)
        elif error is not None:
            observer.failed(by_key[future.key], error)
        future.release()


def _ended(future: Any) -> tuple[RunResult | None, Exception | None]:
    try:
        error = future.exception()
        return (future.result(), None) if error is None else (None, error)
    except (*_CANCELLED, OSError) as lost:
        raise OperatorError(
            "the connection to the Dask scheduler is lost, and with it what it had not told yet"
        ) from lost
