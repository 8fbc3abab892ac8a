"""``vballoond sweep``: many simulations, here or on a Dask cluster, into a file. It needs no daemon.

Exit status: 0 all runs are in the file; 1 some are not; 2 wrong usage; 130 Ctrl-C, 128 and the number
of another signal that ended it; after either it can be gone on with.
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...errors import OperatorError
from ..completion import complete_scenarios
from ..entry import INTERRUPTED
from ..output import fail
from ..runs_progress import RunsProgress, Told
from .simulate import Jobs, Policies, TimeLimit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lab.simulation.sweep.job import Job
    from ...lab.simulation.sweep.observer import Observer

_GO_ON: Final = "the same command goes on with what is missing"


def sweep(
    policy: Policies,
    scenario: Annotated[
        list[str],
        typer.Option(
            "--scenario", metavar="NAME|FILE", help="repeat it for several", autocompletion=complete_scenarios
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.sqlite", help="results; what is there is not run again")],
    seeds: Annotated[str, typer.Option("--seeds", metavar="LIST", help="such as 1-20 or 1,4,7-9")] = "1",
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=A,B,...", help="values of a policy's setting; repeat it")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="of a Dask cluster, such as tcp://host:8786")
    ] = None,
    jobs: Jobs = None,
    time_limit: TimeLimit = 10.0,
) -> None:
    """Simulate every policy with every setting on every scenario with every seed."""
    from ...lab.simulation.endings import ending_in_order

    try:
        with ending_in_order():
            _sweep(policy, scenario, out, seeds, values or [], scheduler, jobs, time_limit)
    except KeyboardInterrupt:
        fail("interrupted", _GO_ON, status=INTERRUPTED)


def _sweep(
    policy: list[str],
    scenario: list[str],
    out: Path,
    seeds: str,
    values: list[str],
    scheduler: str | None,
    jobs: int | None,
    time_limit: float,
) -> None:
    from ...lab.simulation.sweep.grid import check_scheduler, jobs_of, parse_seeds, parse_values
    from ...lab.simulation.sweep.store import open_store
    from ..simulation_set_up import say_doubts, usage_errors

    with usage_errors():
        if scheduler is not None:
            check_scheduler(scheduler)
        asked = jobs_of(policy, scenario, parse_seeds(seeds), parse_values(values), time_limit)
    say_doubts(asked)
    told = Told()
    try:
        with ExitStack() as stack:
            with usage_errors():
                store = stack.enter_context(open_store(out))
            told.keep = store.put
            missing = store.missing(asked)
            print(f"{len(asked)} runs, {len(asked) - len(missing)} of them are in {out} already", file=sys.stderr)
            for sentence in store.others(asked):
                print(f"{out}: {sentence}", file=sys.stderr)
            if missing:
                with RunsProgress(len(missing), told) as progress:
                    _run(missing, progress, scheduler, jobs)
    except OperatorError as error:
        fail(str(error), _GO_ON)
    if told.failures:
        fail("; ".join(told.failures), "the same command tries these again")


def _run(jobs: "Sequence[Job]", observer: "Observer", scheduler: str | None, processes: int | None) -> None:
    from ...lab.simulation.sweep.here import run_here
    from ..simulation_set_up import cpus, dask_there, prepared

    if scheduler is None:
        prepared()
        run_here(jobs, observer, processes=processes or cpus())
        return
    dask_there()
    from ...lab.simulation.sweep.on_dask import run_on_dask

    run_on_dask(jobs, observer, scheduler=scheduler, note=lambda text: print(text, file=sys.stderr))
