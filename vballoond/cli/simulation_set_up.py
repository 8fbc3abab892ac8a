"""What simulations need before they begin. It is imported by who simulates only: numba takes a second to import."""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from ..errors import OperatorError, PolicyError
from ..lab.highalloc.run import warm_up
from ..lab.simulation.sweep.grid import doubts
from ..lab.simulation.sweep.job import Job
from .output import fail


@contextmanager
def usage_errors() -> Iterator[None]:
    """Make wrong usage of what arguments name that does not exist or makes no sense; exit status 2."""
    try:
        yield
    except (OperatorError, PolicyError) as error:
        raise typer.BadParameter(str(error)) from error


def say_doubts(jobs: Sequence[Job]) -> None:
    """Say on standard error what may be meant otherwise than it is written."""
    for sentence in doubts(jobs):
        print(sentence, file=sys.stderr)


def cpus() -> int:
    """Return how many processes can run at a time."""
    return len(os.sched_getaffinity(0))


def prepared() -> None:
    """Have the modelled guest compiled, once on each machine, before several processes do it at a time."""
    print("preparing the modelled guest; its first use on a machine compiles it, about a minute", file=sys.stderr)
    warm_up()


def dask_there() -> None:
    """End with an error where Dask is not installed. What goes wrong with it is told by who uses it, not by Dask."""
    if importlib.util.find_spec("distributed") is None:
        fail("--scheduler needs Dask, which is not installed: install vballoond with its extra 'sweep'")
    importlib.import_module("distributed")  # sets levels of its own
    for name in ("asyncio", "distributed", "distributed.client", "distributed.core", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
