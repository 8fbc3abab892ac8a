"""Runs on a Dask cluster.

Rules of this file:

* Dask comes with the extra "sweep", so nobody imports this file before a cluster is wanted.
* A job has all that it needs in it: a cluster's machines need this program, in the same version, and no files.
* A run is not kept on the cluster once it was told.
"""

from collections.abc import Sequence
from typing import Any, Final

import distributed

from ....errors import OperatorError
from .job import Job, run_job
from .observer import Observer

_CONNECT_S: Final = 10
_DASK: Final[Any] = distributed  # it has no types


def run_on_dask(jobs: Sequence[Job], observer: Observer, *, scheduler: str) -> None:
    """Make all runs on the cluster of ``scheduler``, such as ``tcp://host:8786``.

    Raises:
        OperatorError: It cannot be reached.
    """
    try:
        client: Any = _DASK.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OperatorError(f"no Dask scheduler at {scheduler}: {error}") from error
    with client:
        run_with(client, jobs, observer)


def run_with(client: Any, jobs: Sequence[Job], observer: Observer) -> None:
    """Make all runs through a client that is connected."""
    by_key = {f"vballoond-{job.key}": job for job in jobs}
    futures = [client.submit(run_job, job, key=key) for key, job in by_key.items()]
    for future in _DASK.as_completed(futures, loop=client.loop):
        job = by_key[future.key]
        error = future.exception()
        if error is None:
            observer.finished(job, future.result())
        else:
            observer.failed(job, error)
        future.release()
