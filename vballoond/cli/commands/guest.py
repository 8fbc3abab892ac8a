"""``vballoond statistics`` and ``hinting``: what a guest says of its memory."""

from typing import Annotated

import typer

from ..client import DEFAULT_API, ClientError, RefusedError, balloon_path
from ..options import Api, Json, Name, TokenFile, client_of
from ..output import console, print_json
from ..tables import print_hinting, print_statistics


def statistics(
    name: Name,
    interval: Annotated[
        float | None,
        typer.Option("--interval", metavar="S", min=0, help="have the guest asked so often, in seconds; 0: no more"),
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show what a guest last said of its memory, or set how often it is asked."""
    client, path = client_of(api, token_file), balloon_path(name, "/statistics")
    if interval is not None:
        answer = client.patch(path, {"interval_s": interval}).json("interval_s")
        if as_json:
            print_json(answer)
        else:
            print(_asked(name, answer["interval_s"]))
        return
    try:
        view = client.get(path).json("statistics")
    except RefusedError as error:
        if error.code != "no-statistics":
            raise
        step = f"'vballoond show {name}' says whether a driver is there; --interval 2 has it asked every 2 s"
        raise ClientError(str(error), step) from error
    if as_json:
        print_json(view)
    else:
        print_statistics(console(), view)


def _asked(name: str, interval_s: float) -> str:
    return f"{name}: asked every {interval_s:g} s" if interval_s else f"{name}: asked no more"


def hinting(
    name: Name,
    start: Annotated[
        bool, typer.Option("--start", help="begin a round: the guest lists the memory that is free")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="end it: the guest may use that memory again")] = False,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show, start or stop a round of free page hinting."""
    if start and stop:
        raise typer.BadParameter("give one of --start and --stop", param_hint="--stop")
    client, path = client_of(api, token_file), balloon_path(name, "/hinting")
    answer = client.post(path) if start else client.delete(path) if stop else client.get(path)
    view = answer.json("state")
    if as_json:
        print_json(view)
    else:
        print_hinting(console(), view)
