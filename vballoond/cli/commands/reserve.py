"""``vballoond reserve`` and ``reservations``: memory of the host that is to be free by a given time."""

import http.client
from typing import Annotated, Any, Final

import typer

from ...sizes import format_size
from ..client import DEFAULT_API, Client, ClientError, RefusedError, UnreachableError
from ..entry import INTERRUPTED
from ..options import Api, Json, TokenFile, client_of, size_of
from ..output import console, fail, print_json
from ..policy_tables import print_reservations
from ..reservation_wait import RESERVATIONS, Reservation, awaited, how_to_drop, in_words, not_ready

_LOOK_FIRST: Final = "see with 'vballoond reservations' whether it was made, before you ask for it again"
_CUT_OFF: Final = (ConnectionResetError, BrokenPipeError, TimeoutError, http.client.HTTPException)
"""What says that a request may have been heard, and its answer was lost."""


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
    """Have memory of the host freed, by whatever policy acts.

    With --wait the exit status says whether it is. Ctrl-C, or a daemon that goes away, ends no reservation.
    """
    body = {"bytes": size_of(size), "within_s": float(within), "keep_s": float(keep), "purpose": purpose}
    client = client_of(api, token_file)
    reservation = _made(client, body)
    if wait is not None:
        reservation = _awaited(client, reservation, wait)
    if as_json:
        print_json(reservation)
    else:
        print(_summary(reservation))
    if wait is not None and reservation["state"] != "ready":
        fail(*not_ready(reservation, wait))


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
        client.delete(f"{RESERVATIONS}/{cancel}")
    if claim is not None:
        client.post(f"{RESERVATIONS}/{claim}/claim")
    listing = client.get(RESERVATIONS).json("reservations")
    if as_json:
        print_json(listing)
    else:
        print_reservations(console(), listing["reservations"])


def _made(client: Client, body: dict[str, Any]) -> Reservation:
    """Ask without waiting, so that its number is known at once. Where the answer is lost, it may have been made."""
    try:
        reservation: Reservation = client.post(RESERVATIONS, body).json("id", "state")
    except KeyboardInterrupt:
        fail("interrupted before the daemon said a number", _LOOK_FIRST, INTERRUPTED)
    except UnreachableError as error:
        if not isinstance(error.__cause__, _CUT_OFF):
            raise  # it was not even asked
        raise ClientError(f"the daemon went away before it said a number: {error}", _LOOK_FIRST) from error
    except RefusedError as error:
        if error.code != "invalid-purpose":
            raise
        raise ClientError(str(error), "give --for a text without line breaks and control characters") from error
    return reservation


def _awaited(client: Client, reservation: Reservation, wait_s: float) -> Reservation:
    try:
        return awaited(client, reservation, wait_s)
    except KeyboardInterrupt:
        fail(f"interrupted; {in_words(reservation)} goes on", how_to_drop(reservation), INTERRUPTED)


def _summary(reservation: Reservation) -> str:
    there = f"{format_size(reservation['gathered_bytes'])} of {format_size(reservation['bytes'])} is free"
    why = f": {reservation['reason']}" if reservation["reason"] else ""
    return f"reservation {reservation['id']} is {reservation['state']}, {there}{why}"
