"""What people read: tables of balloons, a balloon's details, its frames, resizes and statistics.

Rules of this file: what comes from the daemon is shown as it is, never read as markup.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..sizes import format_size
from .wording import date_and_time, duration, resize_in_words, seconds_between, size

Shown = Mapping[str, Any]


def _table(left: Iterable[str], right: Iterable[str], last: Iterable[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in left:
        table.add_column(column, overflow="fold")
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    for column in last:
        table.add_column(column, overflow="fold")
    return table


def _pairs() -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def print_balloons(console: Console, balloons: Iterable[Shown]) -> None:
    """Print a line for each balloon."""
    table = _table(("NAME", "STATE"), ("MEMORY", "TARGET", "ACTUAL", "RESIDENT", "RECLAIMED"))
    for balloon in balloons:
        sizes = ("memory_bytes", "target_bytes", "actual_bytes", "resident_bytes", "reclaimed_bytes")
        table.add_row(Text(balloon["name"]), balloon["state"], *(size(balloon[name]) for name in sizes))
    console.print(table)


def print_balloon(console: Console, balloon: Shown) -> None:
    """Print all that there is to say of one balloon."""
    table = _pairs()
    for label, value in _details(balloon):
        table.add_row(label, Text(value))
    console.print(table)


def _details(balloon: Shown) -> Iterable[tuple[str, str]]:
    yield "name", balloon["name"]
    yield "transport", balloon["transport"]
    yield "state", balloon["state"] + (f": {balloon['reason']}" if balloon["reason"] else "")
    yield "memory", size(balloon["memory_bytes"])
    yield "target", size(balloon["target_bytes"])
    yield "actual", size(balloon["actual_bytes"])
    yield "held frames", str(balloon["held_frames"])
    yield "resident", f"{size(balloon['resident_bytes'])} of the host's memory now"
    yield "reclaimed", f"{size(balloon['reclaimed_bytes'])} given back so far"
    yield "negotiated", " ".join(balloon["features"]["negotiated"]) or "-"
    yield "resize", resize_in_words(balloon["resize"])
    busy = {name: value for name, value in balloon["counters"].items() if value}
    yield "counters", " ".join(f"{name}={value}" for name, value in busy.items()) or "-"


def print_frames(console: Console, frames: Shown) -> None:
    """Print the ranges of a frame map."""
    console.print(Text(f"{frames['name']}: {frames['held_frames']} of {frames['frames']} frames ballooned"))
    if not frames["ranges"]:
        return
    table = _table((), ("FIRST", "LAST", "FRAMES", "SIZE"), ("STATE",))
    for part in frames["ranges"]:
        whole = format_size(part["count"] * frames["frame_bytes"])
        last = part["first"] + part["count"] - 1
        table.add_row(f"{part['first']:#x}", f"{last:#x}", str(part["count"]), whole, part["state"])
    console.print(table)


def print_resizes(console: Console, history: Shown) -> None:
    """Print a line for each resize, the newest first."""
    if not history["resizes"]:
        console.print(Text(f"{history['name']}: no resize yet"))
        return
    table = _table((), ("ID",), ("STARTED",))
    for column in ("FROM", "TARGET", "TOOK"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("BY")
    table.add_column("OUTCOME", overflow="fold")
    for resize in history["resizes"]:
        took_s = seconds_between(resize["started_at"], resize["ended_at"])
        table.add_row(
            str(resize["id"]),
            date_and_time(resize["started_at"]),
            size(resize["from_bytes"]),
            size(resize["target_bytes"]),
            "-" if took_s is None else duration(took_s),
            resize["by"],
            Text(_outcome(resize)),
        )
    console.print(table)


def _outcome(resize: Shown) -> str:
    if resize["outcome"] is not None:
        return str(resize["outcome"])
    if resize["stalled"]:
        return f"stalled: {resize['stalled']}"
    return f"under way, {resize['progress']:.0%}, {format_size(resize['rate_bytes_per_s'])}/s"


_COUNTS: Final = frozenset(
    ("major_faults", "minor_faults", "hugetlb_allocations", "hugetlb_failures", "oom_kill", "alloc_stall")
)


def statistic(tag: str, value: int) -> str:
    """Write a statistic: some are counts, the others bytes."""
    return str(value) if tag in _COUNTS else format_size(value)


def print_statistics(console: Console, view: Shown) -> None:
    """Print what a guest said of its memory, with its age, and what is not to be believed."""
    every = f"asked every {view['interval_s']:g} s" if view["interval_s"] else "asked no more"
    stale = ", out of date" if view.get("stale") else ""
    console.print(Text(f"{view['name']}: {duration(view['age_s'])} old{stale}; {every}"))
    doubtful = view.get("doubtful") or {}
    table = _pairs()
    for tag, value in view["statistics"].items():
        doubt = f"  (doubtful: {doubtful[tag]})" if tag in doubtful else ""
        table.add_row(Text(tag), Text(statistic(tag, value) + doubt))
    console.print(table)
    if view.get("missing"):
        console.print(Text(f"never sent: {' '.join(view['missing'])}"), soft_wrap=not console.is_terminal)


def print_hinting(console: Console, view: Shown) -> None:
    """Print how a round of hinting is."""
    since = f", begun {date_and_time(view['started_at'])}" if view["started_at"] else ""
    console.print(Text(f"{view['name']}: {view['state']}, {format_size(view['hinted_bytes'])} listed as free{since}"))
