"""The tables that people read: policies side by side over one scenario.

Rules of this file: what people have written is a ``Text``, so that none of it is taken for markup.
"""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .measures import ROWS
from .result import RunResult


def print_results(console: Console, summary: str, results: Sequence[RunResult]) -> None:
    """Print what the runs of one scenario and seed came to, a column for each policy."""
    first = results[0]
    seconds = first.curve[-1].at_s if first.curve else 0.0
    console.print(Text(f"{first.scenario}: {summary}"))
    console.print(f"seed {first.seed}, {seconds:.0f} s of virtual time, guests modelled page by page\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for result in results:
        table.add_column(Text(result.policy), justify="right")
    for row in ROWS:
        table.add_row(row.title, *(row.shown(result.measures) for result in results))
    console.print(table)
    for result in results:
        for sentence in (*result.problems, *result.broken):
            console.print(Text(f"\n{result.policy}: {sentence}"))
