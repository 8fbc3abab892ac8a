"""``vballoond simulate``: what a policy does with a host, before it is let near one. It needs no daemon.

Exit status: 0 done; 1 it could not be done, or what must hold or is promised did not; 2 wrong usage; 130 Ctrl-C;
128 and the number of another signal that ended it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...errors import OperatorError, PolicyError
from ...sizes import format_size
from ..completion import complete_scenarios_and_views, complete_tried_policies
from ..entry import INTERRUPTED
from ..experiment import check_plot
from ..options import Json
from ..output import console, fail, print_json
from ..runs_progress import RunsProgress, Told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...lab.simulation.result import RunResult
    from ...lab.simulation.snapshots import WouldBe
    from ...lab.simulation.sweep.job import Job
    from ...lab.simulation.sweep.observer import Observer

_SHOWN_DECISIONS: Final = 12

Policies = Annotated[
    list[str],
    typer.Option(
        "--policy",
        metavar="NAME|FILE",
        help="a policy, or a .py file; NAME:key=value,... with settings; repeat it",
        autocompletion=complete_tried_policies,
    ),
]
TimeLimit = Annotated[
    float,
    typer.Option(
        "--time-limit", metavar="S", min=0.05, max=3600, help="for each answer of a policy that is not built in"
    ),
]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="runs at a time", show_default="number of CPUs")]


def simulate(
    policy: Policies,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            metavar="NAME|FILE",
            help="a shipped one, a .toml, or recorded views in .jsonl",
            autocompletion=complete_scenarios_and_views,
        ),
    ],
    seed: Annotated[int, typer.Option("--seed", min=0, help="of all chance: the same seed, the same numbers")] = 1,
    jobs: Jobs = None,
    time_limit: TimeLimit = 10.0,
    plot: Annotated[Path | None, typer.Option("--plot", help="draw into this file (png, pdf, svg)")] = None,
    as_json: Json = False,
) -> None:
    """Try policies on a simulated host, side by side; or on recorded views."""
    from ...lab.simulation.endings import ending_in_order

    if plot is not None:
        check_plot(plot)
    try:
        with ending_in_order():
            if scenario.endswith(".jsonl"):
                _replay(policy, Path(scenario), time_limit, plot, as_json=as_json)
            else:
                _simulate(policy, scenario, seed, jobs, time_limit, plot, as_json=as_json)
    except KeyboardInterrupt:
        fail("interrupted", status=INTERRUPTED)


def _simulate(
    policies: list[str],
    scenario: str,
    seed: int,
    processes: int | None,
    time_limit_s: float,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    # numba and numpy take a second to import, which the other commands need not spend.
    from ...lab.simulation.shipped import load_host_scenario
    from ...lab.simulation.sweep.grid import jobs_of
    from ..simulation_set_up import cpus, prepared, say_doubts, usage_errors

    with usage_errors():
        asked = jobs_of(policies, [scenario], [seed], {}, time_limit_s)
        summary = load_host_scenario(scenario).summary
    say_doubts(asked)
    prepared()
    told = Told()
    with RunsProgress(len(asked), told) as progress:
        _run(asked, progress, processes or cpus())
    results = [told.results[job.key] for job in asked if job.key in told.results]
    if results:
        _show(summary, results, plot, as_json=as_json)
    broken = [f"{result.policy}: {sentence}" for result in results for sentence in result.broken]
    if told.failures or broken:
        fail("; ".join((*told.failures, *broken)))


def _run(jobs: "Sequence[Job]", observer: "Observer", processes: int) -> None:
    from ...lab.simulation.sweep.here import run_here

    try:
        run_here(jobs, observer, processes=processes)
    except OperatorError as error:
        fail(str(error))


def _show(summary: str, results: "list[RunResult]", plot: Path | None, *, as_json: bool) -> None:
    from ...lab.simulation.table import print_results

    if as_json:
        print_json(
            {"scenario": results[0].scenario, "summary": summary, "results": [result.as_json() for result in results]}
        )
    else:
        print_results(console(), summary, results)
    if plot is not None:
        from ...lab.simulation.plot import draw

        draw(summary, results, plot)
        print(f"drawn: {plot}", file=sys.stderr)


def _replay(policies: list[str], path: Path, time_limit_s: float, plot: Path | None, *, as_json: bool) -> None:
    from ...lab.simulation.chosen_policy import choose, told_apart
    from ...lab.simulation.snapshots import read_snapshots, would_decide
    from ..simulation_set_up import usage_errors

    if plot is not None:
        raise typer.BadParameter("recorded views do not go on from decisions, so there is nothing to draw")
    with usage_errors():
        chosen = told_apart(choose(text, time_limit_s) for text in policies)
        views = read_snapshots(path)
    replayed, failures = {}, []
    for one in chosen:
        try:
            replayed[one.label] = would_decide(views, one, time_limit_s=time_limit_s)
        except (OperatorError, PolicyError) as error:
            failures.append(f"{one.label}: {error}")
    if replayed:
        _show_replay(path, replayed, as_json=as_json)
    if failures:
        fail("; ".join(failures))


def _show_replay(path: Path, replayed: "dict[str, list[WouldBe]]", *, as_json: bool) -> None:
    if as_json:
        rounds = {label: [item.data() for item in items] for label, items in replayed.items()}
        print_json({"snapshots": str(path), "open_loop": True, "policies": rounds})
    else:
        _print_replay(path, replayed)


def _print_replay(path: Path, replayed: "dict[str, list[WouldBe]]") -> None:
    print(f"{path}: what would have been decided at each recorded view.")
    print("The host did not follow it: each view is what was recorded, whatever was decided before (open loop).")
    for label, rounds in replayed.items():
        moving = [(item.at_s, decision) for item in rounds for decision in item.moving]
        print(f"\n{label}: {len(rounds)} rounds, {len(moving)} targets would have been changed")
        for at_s, decision in moving[:_SHOWN_DECISIONS]:
            change = f"{format_size(decision.from_bytes)} to {format_size(decision.target_bytes)}"
            print(f"  at {at_s:.0f} s  {decision.guest}: {change}: {decision.explanation}")
        if len(moving) > _SHOWN_DECISIONS:
            print(f"  and {len(moving) - _SHOWN_DECISIONS} more; --json shows all")
        for problem in dict.fromkeys(item.problem for item in rounds if item.problem):
            print(f"  it failed: {problem}")
