"""What people read of policies: who decides, who could, what was decided, and reservations.

Rules of this file: what comes from the daemon is shown as it is, never read as markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..sizes import format_size
from .wording import clock_time, date_and_time

Shown = Mapping[str, Any]


def print_policy(console: Console, view: Shown) -> None:
    """Print who decides, and how that goes."""
    for label, chosen in (("acting", view["active"]), ("shadow", view.get("shadow"))):
        if chosen is None:
            continue
        aside = ", set aside" if chosen.get("set_aside") else ""
        console.print(Text(f"{label}: {chosen['name']}{_settings(chosen['settings'])}{aside}"))
        for line in (chosen.get("problem") or "").splitlines():
            console.print(Text(f"  {line}"))
        for each in chosen.get("differences", []):
            acting, other = format_size(each["acting_bytes"]), format_size(each["shadow_bytes"])
            console.print(Text(f"  {each['balloon']}: {other}, where the acting one has {acting}"))
    for each in view.get("left_alone", []):
        console.print(Text(f"set by hand: {each['balloon']}, left alone until {clock_time(each['until'])}"))
    for origin, problem in view.get("problems", {}).items():
        console.print(Text(f"not loaded: {origin}"))
        for line in problem.splitlines():
            console.print(Text(f"  {line}"))


def print_available(console: Console, view: Shown) -> None:
    """Print who could decide, each with its settings."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "NAME", "WHAT IT DOES", "SETTINGS"):
        table.add_column(column, overflow="fold")
    for each in view["available"]:
        known = each["settings_schema"].get("properties", {})
        defaults = {name: schema.get("default") for name, schema in known.items()}
        mark = "*" if each["name"] == view["active"]["name"] else ""
        origin = "" if each["origin"] == "built-in" else f" ({each['origin']})"
        table.add_row(mark, Text(each["name"]), Text(each["summary"] + origin), Text(_settings(defaults).strip()))
    console.print(table)


def print_plan(console: Console, plan: Shown) -> None:
    """Print what a policy would do."""
    console.print(Text(f"{plan['name']}{_settings(plan['settings'])}"))
    if not plan["decisions"]:
        console.print("  all guests are left as they are")
    _print_decisions(console, plan["decisions"])
    _print_alerts(console, plan["alerts"])


def print_rounds(console: Console, rounds: Sequence[Shown]) -> None:
    """Print rounds in the order in which they were; those in which nothing was wished, in one line."""
    for (who, quiet), group in groupby(reversed(rounds), key=lambda each: (_who(each), _quiet(each))):
        if quiet:
            _print_quiet(console, who, list(group))
            continue
        for each in group:
            console.print(Text(f"{date_and_time(each['at'])}  {who}"))
            for line in (each["error"] or "").splitlines():
                console.print(Text(f"  {line}"))
            _print_decisions(console, each["decisions"])
            _print_alerts(console, each["alerts"])


def _who(each: Shown) -> str:
    return f"{each['policy']}{' in shadow' if each['shadow'] else ''}"


def _quiet(each: Shown) -> bool:
    return not (each["error"] or each["decisions"] or each["alerts"])


def _print_quiet(console: Console, who: str, rounds: Sequence[Shown]) -> None:
    first, last = rounds[0]["at"], rounds[-1]["at"]
    until = f" to {clock_time(last)}, {len(rounds)} rounds" if len(rounds) > 1 else ""
    console.print(Text(f"{date_and_time(first)}{until}  {who}: leaves all guests as they are"))


def print_reservations(console: Console, reservations: Iterable[Shown]) -> None:
    """Print a line for each reservation."""
    table = Table(box=None, pad_edge=False)
    for column in ("ID", "STATE", "SIZE", "FREE", "BY", "FOR", "REASON"):
        table.add_column(column, overflow="fold")
    for each in reservations:
        sizes = (format_size(each["bytes"]), format_size(each["gathered_bytes"]))
        words = (Text(each["purpose"]), Text(each["reason"] or ""))
        table.add_row(str(each["id"]), each["state"], *sizes, clock_time(each["by"]), *words)
    console.print(table)


def _print_decisions(console: Console, decisions: Sequence[Shown]) -> None:
    if not decisions:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("  BALLOON", no_wrap=True)
    for column in ("FROM", "WISHED", "TARGET"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("WHY", overflow="fold")
    for each in decisions:
        sizes = (format_size(each[f"{name}_bytes"]) for name in ("from", "wished", "target"))
        table.add_row(Text(f"  {each['balloon']}"), *sizes, Text(each["reason"]))
    console.print(table)


def _print_alerts(console: Console, alerts: Iterable[Shown]) -> None:
    for each in alerts:
        console.print(Text(f"  {each['level']}: {each['balloon'] or 'host'}: {each['message']}"))


def _settings(settings: Shown) -> str:
    return "".join(f" {name}={value}" for name, value in settings.items())
