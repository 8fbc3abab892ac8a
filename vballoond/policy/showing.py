"""A snapshot as policies are shown it: who is new, silent or stalled, and what is held back for reservations.

A guest that is stalled and starves is shown as one that can be moved: it may need some back, and the guard asks it for
nothing more in any case.
"""

from dataclasses import dataclass, replace

from .guard.limits import Limits
from .guard.stalls import observe
from .guard.starving import starving
from .guard.state import GuardState
from .plan import Alert
from .reservations import Book, held_bytes
from .view import GuestView, View


@dataclass(frozen=True, slots=True)
class Shown:
    """What policies are shown, what the guard is to remember, and what people are to know."""

    view: View
    state: GuardState
    alerts: tuple[Alert, ...] = ()


def show(view: View, state: GuardState, book: Book, limits: Limits) -> Shown:
    """Return ``view`` as policies are shown it. What was shown already is shown again as it is."""
    observed = observe(view, state, limits)
    guests = tuple(_to_be_helped(guest, limits) for guest in observed.view.guests)
    host = replace(view.host, reserved_bytes=held_bytes(book, observed.view))
    return Shown(replace(observed.view, guests=guests, host=host), observed.state, observed.alerts)


def _to_be_helped(guest: GuestView, limits: Limits) -> GuestView:
    return replace(guest, state="running") if guest.state == "stalled" and starving(guest, limits) else guest
