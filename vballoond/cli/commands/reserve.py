"""``vballoond reserve`` and ``reservations``: memory of the host that is to be free by a given time."""

from typing import Annotated, Any

import typer

from ...sizes import format_size, parse_size
from ..client import DEFAULT_API
from ..options import Api, Json, TokenFile, client_of
from ..output import console, fail, print_json
from ..policy_tables import print_reservations

_PATH = "/v1/reservations"


def reserve(
    size: Annotated[str, typer.Argument(metavar="SIZE", help="what is to be free on the host, such as 2GiB")],
    within: Annotated[float, typer.Option("--within", metavar="S", min=0, help="by when, in seconds")] = 60,
    keep: Annotated[float, typer.Option("--keep", metavar="S", min=1, help="how long it is kept then")] = 300,
    purpose: Annotated[str, typer.Option("--for", metavar="TEXT", help="what it is for, for people")] = "",
    wait: Annotated[
        float | None, typer.Option("--wait", metavar="S", min=0, max=600, help="seconds to wait for it")
    ] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Have memory of the host freed, by whatever policy acts. With --wait the exit status says whether it is."""
    try:
        wanted = parse_size(size)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SIZE") from error
    body = {"bytes": wanted, "within_s": float(within), "keep_s": float(keep), "purpose": purpose}
    reservation = client_of(api, token_file).post(_PATH, body, wait).json("id", "state")
    if as_json:
        print_json(reservation)
    else:
        print(_summary(reservation))
    if wait is not None and reservation["state"] != "ready":
        number = reservation["id"]
        fail(
            f"{format_size(wanted)} is not free after {wait:g} s: {reservation['reason'] or reservation['state']}",
            f"'vballoond reservations' shows it; 'vballoond reservations --cancel {number}' drops it",
        )


def reservations(
    cancel: Annotated[int | None, typer.Option("--cancel", metavar="ID", help="let go of one")] = None,
    claim: Annotated[int | None, typer.Option("--claim", metavar="ID", help="take one that is ready")] = None,
    api: Api = DEFAULT_API,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Show what was asked for with 'vballoond reserve', take what is ready, or let go of it."""
    client = client_of(api, token_file)
    if cancel is not None:
        client.delete(f"{_PATH}/{cancel}")
    if claim is not None:
        client.post(f"{_PATH}/{claim}/claim")
    listing = client.get(_PATH).json("reservations")
    if as_json:
        print_json(listing)
    else:
        print_reservations(console(), listing["reservations"])


def _summary(reservation: dict[str, Any]) -> str:
    there = f"{format_size(reservation['gathered_bytes'])} of {format_size(reservation['bytes'])} is free"
    why = f": {reservation['reason']}" if reservation["reason"] else ""
    return f"reservation {reservation['id']} is {reservation['state']}, {there}{why}"
