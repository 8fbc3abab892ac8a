"""``vballoond experiment``: experiments on modelled guests. They need no daemon.

Exit status: 0 done; 1 it could not be done, or ``--check`` found too little; 2 wrong usage; 130 Ctrl-C.
"""

import importlib.util
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from ..lab.highalloc.setting import SETTINGS, Setting
from .entry import INTERRUPTED

if TYPE_CHECKING:
    from ..lab.highalloc.summary import Summary

app = typer.Typer(no_args_is_help=True, help="Experiments on modelled guests; they need no daemon.")

PICTURE_FORMATS: Final = (".pdf", ".png", ".svg")
_DEFAULT_SEEDS: Final = 5


class SettingName(StrEnum):
    """What can be written behind ``--setting``."""

    V11 = "v11"
    V10 = "v10"


@app.callback()
def _experiments() -> None:
    """Hold the experiments together."""


@app.command()
def highalloc(
    seeds: Annotated[int | None, typer.Option(min=1, help="run seeds 1 to N", show_default="5")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="run this seed only")] = None,
    setting: Annotated[
        SettingName, typer.Option(help="v11: balloon of 512 MiB in chunks of 64 MiB; v10: 1 GiB in chunks of 256 MiB")
    ] = SettingName.V11,
    jobs: Annotated[int | None, typer.Option(min=1, help="runs at a time", show_default="number of CPUs")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw curves and frame maps into this file (png, pdf, svg)")] = None,
    check: Annotated[bool, typer.Option("--check", help="fail where compaction helps less than it must")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Try for huge pages while a balloon moves, with and without balloon compaction (stress-highalloc, 2012)."""
    if seeds is not None and seed is not None:
        raise typer.BadParameter("give --seeds or --seed, not both", param_hint="--seed")
    if plot is not None:
        check_plot(plot)
    chosen = [seed] if seed is not None else list(range(1, (seeds or _DEFAULT_SEEDS) + 1))
    try:
        summary = _run(SETTINGS[setting], chosen, jobs or len(os.sched_getaffinity(0)))
        _print(summary, as_json=as_json)
        if plot is not None:
            _draw(summary, plot)
    except KeyboardInterrupt:
        print("vballoond: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    if check:
        _check(summary)


def check_plot(path: Path) -> None:
    """Find out before anything runs that a picture cannot be made."""
    if path.suffix.lower() not in PICTURE_FORMATS:
        raise typer.BadParameter(f"{path} must end in {', '.join(PICTURE_FORMATS)}", param_hint="--plot")
    if importlib.util.find_spec("matplotlib") is None:
        _fail("--plot needs matplotlib, which is not installed: install vballoond with its extra 'plot'")
    if path.is_dir() or not path.parent.is_dir():
        _fail(f"{path}: {'Is a directory' if path.is_dir() else 'No such directory'}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        _fail(f"{path}: Permission denied")


def _run(setting: Setting, seeds: list[int], processes: int) -> "Summary":
    # numba and numpy take a second to import, which the other commands need not spend.
    from ..lab.highalloc.parallel import WorkerDiedError, jobs_for, run_all
    from ..lab.highalloc.run import run, warm_up
    from ..lab.highalloc.summary import Summary
    from .experiment_progress import ExperimentProgress

    print("preparing the modelled guest; its first use on a machine compiles it, about a minute", file=sys.stderr)
    warm_up()
    jobs = jobs_for(seeds)
    try:
        with ExperimentProgress(len(jobs)) as progress:
            return Summary(setting, run_all(setting, jobs, run, processes=processes, observer=progress))
    except WorkerDiedError as error:
        _fail(str(error))


def _print(summary: "Summary", *, as_json: bool) -> None:
    from rich.console import Console

    from ..lab.highalloc.table import print_table

    if as_json:
        print(json.dumps(summary.as_json(), indent=2))
    else:
        # A pipe has no width: rows must not be cut for what reads them.
        print_table(Console(highlight=False, width=None if sys.stdout.isatty() else 1000), summary)


def _draw(summary: "Summary", path: Path) -> None:
    from ..lab.highalloc.plot import draw

    draw(summary, path)
    print(f"drawn: {path}", file=sys.stderr)


def _check(summary: "Summary") -> None:
    from ..lab.highalloc.bounds import shortfalls

    if sentences := shortfalls(summary):
        _fail("the experiment does not show what it must. " + "; ".join(sentences))
    print("balloon compaction helps as much as it must", file=sys.stderr)


def _fail(message: str) -> NoReturn:
    print(f"vballoond: {message}", file=sys.stderr)
    raise typer.Exit(1)
