"""The commands, put together.

Exit status: 0 done; 1 refused, unreachable or not reached; 2 wrong usage or unparsable size; 130 Ctrl-C where it cuts
something short.
"""

from collections.abc import Callable
from typing import Any, Final

import typer

from . import experiment
from .client import ClientError
from .commands import (
    balloons,
    frames,
    guest,
    history,
    lifecycle,
    policy,
    record,
    reserve,
    resize,
    simulate,
    sweep,
    watch,
)
from .output import fail_with

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Memory balloons for the guests of this host: a daemon, and the commands that ask it.",
)

_COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    "serve": lifecycle.serve,
    "list": balloons.list_balloons,
    "show": balloons.show,
    "set": resize.set_target,
    "watch": watch.watch,
    "frames": frames.frames,
    "statistics": guest.statistics,
    "resizes": history.resizes,
    "events": history.events,
    "hinting": guest.hinting,
    "add": balloons.add,
    "remove": balloons.remove,
    "reserve": reserve.reserve,
    "reservations": reserve.reservations,
    "record": record.record,
    "reload": lifecycle.reload,
    "restart": lifecycle.restart,
    "simulate": simulate.simulate,
    "sweep": sweep.sweep,
}

for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(policy.app, name="policy")
app.add_typer(experiment.app, name="experiment")


@app.callback()
def _commands() -> None:
    """Hold the commands together."""


def main() -> None:
    """Run the command line; an error is a line or two on standard error."""
    try:
        app()
    except (ClientError, OSError) as error:
        fail_with(error)
