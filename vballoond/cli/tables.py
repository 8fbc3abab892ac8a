"""What people read: tables of balloons, a balloon's details, its frames."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..sizes import format_size


def _size(value: int | None) -> str:
    return "?" if value is None else format_size(value)


def print_balloons(console: Console, balloons: Iterable[dict[str, Any]]) -> None:
    """Print a line for each balloon."""
    table = Table(box=None, pad_edge=False)
    for column in ("NAME", "STATE", "MEMORY", "TARGET", "ACTUAL", "RESIDENT", "RECLAIMED"):
        table.add_column(column, justify="left" if column in ("NAME", "STATE") else "right")
    for balloon in balloons:
        sizes = ("memory_bytes", "target_bytes", "actual_bytes", "resident_bytes", "reclaimed_bytes")
        table.add_row(balloon["name"], balloon["state"], *(_size(balloon[name]) for name in sizes))
    console.print(table)


def print_balloon(console: Console, balloon: dict[str, Any]) -> None:
    """Print all that there is to say of one balloon."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for label, value in _details(balloon):
        table.add_row(label, Text(value))
    console.print(table)


def _details(balloon: dict[str, Any]) -> Iterable[tuple[str, str]]:
    yield "name", balloon["name"]
    yield "transport", balloon["transport"]
    yield "state", balloon["state"] + (f": {balloon['reason']}" if balloon["reason"] else "")
    yield "memory", _size(balloon["memory_bytes"])
    yield "target", _size(balloon["target_bytes"])
    yield "actual", _size(balloon["actual_bytes"])
    yield "held frames", str(balloon["held_frames"])
    yield "resident", f"{_size(balloon['resident_bytes'])} of the host's memory now"
    yield "reclaimed", f"{_size(balloon['reclaimed_bytes'])} given back so far"
    yield "negotiated", " ".join(balloon["features"]["negotiated"]) or "-"
    yield "resize", _resize(balloon["resize"])
    busy = {name: value for name, value in balloon["counters"].items() if value}
    yield "counters", " ".join(f"{name}={value}" for name, value in busy.items()) or "-"


def _resize(resize: dict[str, Any] | None) -> str:
    if resize is None:
        return "none yet"
    if resize["done"]:
        return f"#{resize['id']} done"
    if resize["stalled"]:
        return f"#{resize['id']} stalled: {resize['stalled']}"
    return f"#{resize['id']} under way, {format_size(resize['rate_bytes_per_s'])}/s"


def print_frames(console: Console, frames: dict[str, Any]) -> None:
    """Print the ranges of a frame map."""
    console.print(f"{frames['name']}: {frames['held_frames']} of {frames['frames']} frames ballooned")
    if not frames["ranges"]:
        return
    table = Table(box=None, pad_edge=False)
    for column in ("FIRST", "LAST", "FRAMES", "SIZE"):
        table.add_column(column, justify="right")
    table.add_column("STATE")
    for part in frames["ranges"]:
        size = format_size(part["count"] * frames["frame_bytes"])
        last = part["first"] + part["count"] - 1
        table.add_row(f"{part['first']:#x}", f"{last:#x}", str(part["count"]), size, part["state"])
    console.print(table)
