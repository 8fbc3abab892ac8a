"""The table that people read: both kinds of guest as modelled, and beside it as published."""

from rich.console import Console
from rich.table import Table

from .measures import OTHERS, PASSES, Measure
from .summary import Row, Spread, Summary

_ABSENT = "-"
_HEADINGS = ("CLEAN", "PATCHED", "DIFFERENCE", "PUBLISHED CLEAN", "PATCHED", "DIFFERENCE")


def seeds_in_words(seeds: list[int]) -> str:
    """Return which seeds were run, for a heading."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds))}"


def print_table(console: Console, summary: Summary) -> None:
    """Print all measures of an experiment, with mean and spread where there are several seeds."""
    several = len(summary.seeds) > 1
    console.print(f"stress-highalloc {summary.setting.name}: {summary.setting.summary}")
    console.print(f"modelled: {seeds_in_words(summary.seeds)}{', mean ± standard deviation' if several else ''}")
    console.print(f"published: {summary.published.source}, one run each")
    console.print("clean: balloon pages stay where they are; patched: with balloon compaction\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for measure in (*PASSES, *OTHERS):
        table.add_row(*_cells(summary.row(measure), several=several))
    console.print(table)


def _cells(row: Row, *, several: bool) -> list[str]:
    measure = row.measure
    return [
        f"{measure.title} %" if measure.percent else measure.title,
        _with_spread(measure, row.clean, several=several),
        _with_spread(measure, row.patched, several=several),
        _number(measure, row.difference, sign="+"),
        _number(measure, row.published_clean),
        _number(measure, row.published_patched),
        _number(measure, row.published_difference, sign="+"),
    ]


def _with_spread(measure: Measure, spread: Spread | None, *, several: bool) -> str:
    if spread is None:
        return _ABSENT
    mean = _number(measure, spread.mean)
    return f"{mean} ± {_number(measure, spread.sd)}" if several else mean


def _number(measure: Measure, value: float | None, sign: str = "") -> str:
    if value is None:
        return _ABSENT
    return f"{value:{sign}.1f}" if measure.percent else f"{value:{sign},.0f}"
