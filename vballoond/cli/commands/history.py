"""``vballoond resizes`` and ``events``: what was asked of balloons, and what happens to them."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer
from rich.text import Text

from ..balloon_event import BalloonEvent, balloon_event
from ..client import DEFAULT_API, Client, balloon_path, events_path
from ..event_stream import EventStream, Lost
from ..options import Api, Json, Name, OptionalName, TokenFile, client_of
from ..output import console, print_json, print_json_line, say
from ..server_sent_events import Event
from ..tables import print_resizes
from ..wording import clock_time


def resizes(name: Name, api: Api = DEFAULT_API, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show the resizes of a balloon, the newest first."""
    history = client_of(api, token_file).get(balloon_path(name, "/resizes")).json("resizes")
    if as_json:
        print_json(history)
    else:
        print_resizes(console(), history)


def events(
    name: OptionalName = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="leave after so many")] = None,
    after: Annotated[
        str, typer.Option("--after", help="begin behind the event with this id, as --json shows it", show_default="now")
    ] = "",
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line")] = False,
) -> None:
    """Print what happens as it happens, until Ctrl-C."""
    client = client_of(api, token_file)
    if name is not None:
        client.get(balloon_path(name))  # a name that is none would wait for ever
    try:
        for number, event in enumerate(_events(client, name, after), 1):
            _print_event(event, as_json=as_json)
            if number == count:
                break
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _events(client: Client, name: str | None, after: str) -> Iterator[BalloonEvent]:
    stream = EventStream(partial(client.stream, events_path(name)), after)
    for report in stream.reports():
        if isinstance(report, Lost):
            say(f"no events for now: {report.reason}", "nothing: it is tried again until the daemon answers")
        elif isinstance(report, Event) and (event := balloon_event(report)) is not None:
            yield event


def _print_event(event: BalloonEvent, *, as_json: bool) -> None:
    if as_json:
        print_json_line(event.as_json())
    else:
        line = Text(f"{clock_time(event.at)}  {event.balloon or '-':<12}  {event.sentence()}")
        console().print(line, soft_wrap=True)
