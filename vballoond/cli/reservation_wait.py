"""Waiting for a reservation, whatever becomes of the daemon meanwhile.

Rules of this file:

* Looking changes nothing: it may be done again whenever an answer was lost, and whoever stops leaves all as it is.
* Reservations survive the daemon's process. Where nobody answers, it is tried again until the time is over.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..sizes import format_size
from .client import Client, ClientError, UnreachableError
from .output import say
from .wording import duration, seconds_between

RESERVATIONS: Final = "/v1/reservations"

Reservation = Mapping[str, Any]

_PENDING: Final = frozenset({"asked", "gathering"})
_PAUSE_S: Final = 0.25


def awaited(
    client: Client,
    reservation: Reservation,
    wait_s: float,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Reservation:
    """Say its number, and return a reservation once it is ready, or over, or as it is after ``wait_s``.

    After any failure, and where somebody presses Ctrl-C, it goes on.

    Raises:
        UnreachableError: Nobody answers at the end.
        ClientError: The daemon does not show it.
    """
    if reservation["state"] in _PENDING:
        say(f"{in_words(reservation)} is made, and waited for up to {wait_s:g} s")
    ends_at_s = now_s() + wait_s
    lost: UnreachableError | None = None
    while reservation["state"] in _PENDING and (rest_s := ends_at_s - now_s()) > 0:
        try:
            reservation, lost = _look(client, reservation["id"], rest_s), None
        except UnreachableError as error:
            if lost is None:
                say(f"no word of {_name(reservation)} for now: {error}", _AGAIN)
            lost = error
        if reservation["state"] in _PENDING:  # the answer was lost, or came too early
            sleep(min(_PAUSE_S, max(0.0, ends_at_s - now_s())))
    if lost is not None:
        raise _unknown(reservation, wait_s, lost) from lost
    return reservation


def not_ready(reservation: Reservation, wait_s: float) -> tuple[str, str]:
    """Say why the memory is not free, and the next step."""
    state, size = reservation["state"], format_size(reservation["bytes"])
    if state in _PENDING:
        text = f"{size} is not free after {wait_s:g} s: {reservation['reason'] or state}"
        return text, f"it goes on: {how_to_drop(reservation)}"
    took_s = seconds_between(reservation["asked_at"], reservation["changed_at"])
    when = "" if took_s is None else f" after {duration(took_s)}"
    reason = f": {reservation['reason']}" if reservation["reason"] else ""
    return f"{in_words(reservation)} {_HAS_ENDED.get(state, state)}{when}{reason}", _NEXT.get(state, "")


def in_words(reservation: Reservation) -> str:
    """Name a reservation, with its size."""
    return f"{_name(reservation)} of {format_size(reservation['bytes'])}"


def how_to_drop(reservation: Reservation) -> str:
    """Say how to look at one that is open, and to let go of it."""
    return f"'vballoond reservations' shows it, 'vballoond reservations --cancel {reservation['id']}' drops it"


def _look(client: Client, number: int, wait_s: float) -> Reservation:
    answer: Reservation = client.get(f"{RESERVATIONS}/{number}", wait_s).json("id", "state")
    return answer


def _name(reservation: Reservation) -> str:
    return f"reservation {reservation['id']}"


def _unknown(reservation: Reservation, wait_s: float, error: ClientError) -> UnreachableError:
    text = f"what became of {_name(reservation)} is not known after {wait_s:g} s: {error}"
    return UnreachableError(text, f"once the daemon is back, {how_to_drop(reservation)}")


_AGAIN: Final = "nothing: it is tried again until the time is over"
_HAS_ENDED: Final = {"failed": "failed", "claimed": "was claimed", "expired": "expired"}
_NEXT: Final = {
    "failed": "nothing is held for it any more: ask for less, or give it longer with --within",
    "claimed": "somebody else has taken it: 'vballoond reserve' asks for more",
    "expired": "nothing is held for it any more: 'vballoond reserve' asks for it again",
}
