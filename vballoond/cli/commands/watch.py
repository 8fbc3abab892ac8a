"""``vballoond watch``: a live view on a whole terminal."""

import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ..client import DEFAULT_API, Client
from ..options import Api, OptionalName, TokenFile, client_of
from ..output import fail
from ..watch.keyboard import Keyboard
from ..watch.session import WatchSession

_TERMINATED = 128 + signal.SIGTERM


def watch(
    name: OptionalName = None,
    once: Annotated[bool, typer.Option("--once", help="print one screen and leave; needs no terminal")] = False,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
) -> None:
    """Watch balloons live: bars and events of all, or curves, statistics and the frame map of one. q leaves."""
    client, console = client_of(api, token_file), Console(highlight=False)
    if once:
        _session(client, name, console, lambda lines: console.print(Group(*lines))).once()
    elif not console.is_terminal or console.is_dumb_terminal:
        step = "'vballoond watch --once' prints one screen, 'vballoond events' prints what happens line by line"
        fail("watch needs a terminal on standard output", step, 2)
    else:
        _live(client, name, console)


def _live(client: Client, name: str | None, console: Console) -> None:
    """Draw until q or Ctrl-C, and leave the terminal as it was, whatever ends it."""
    live = Live(console=console, screen=True, auto_refresh=False)
    session = _session(client, name, console, lambda lines: live.update(Group(*lines), refresh=True))
    signal.signal(signal.SIGTERM, _terminated)
    session.begin()  # before the screen is taken, so that an error stands where it is read
    try:
        with Keyboard() as keyboard, live:
            session.inbox.follow("keys", keyboard.keys())
            session.run()
    except KeyboardInterrupt:
        return


def _terminated(*_: object) -> None:
    sys.exit(_TERMINATED)


def _session(client: Client, name: str | None, console: Console, show: Callable[[list[Text]], None]) -> WatchSession:
    def size() -> tuple[int, int]:
        return console.width, console.height

    colour = console.color_system is not None and not console.no_color
    return WatchSession(client, name, size, show, time.monotonic, colour=colour)
