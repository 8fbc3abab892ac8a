"""Memory that is to be free on the host by a given time: "2 GiB for a new VM by then".

Rules of this file:

* Pure: a book of reservations and a view come in, a new book and what changed come out. Times are the view's ``now_s``.
* What is asked for is held back from guests from the first moment (``held_bytes``, which is ``reserved_bytes`` of the
  next view), so that what comes free is not given away again. Policies gather it, because the host looks short to them.
* Who asked first is served first. A reservation is ready when so much is available above the host's reserve, the
  reservations before it, and all that guests may still take back: then it is there even if they do.
* One that cannot be met even if every guest that follows, or will once it has booted, gave all it may fails after a
  while, and any at its time.

    asked -> gathering -> ready -> claimed
                  |          `---> expired     nobody claimed it in time, or it was cancelled
                  `-> failed                   with a reason
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from ..errors import OperatorError
from ..sizes import format_size
from .guard.stalls import outstanding
from .view import MAX_BYTES, Bytes, GuestView, Instant, View

State = Literal["asked", "gathering", "ready", "claimed", "expired", "failed"]

MAX_OPEN: Final = 64
MAX_ENDED: Final = 64
"""Ended ones are remembered for who asks later; the oldest go."""
MAX_WAIT_S: Final = 86_400.0
HOPELESS_AFTER_S: Final = 20.0
"""So long it may look as if it could not be done: squeezed gives up on a guest after this."""
SLUSH_BYTES: Final = 9 << 20
"""Squeezed's slush fund, the same on every host: it covers that balloons stop a little short. On a host of 1 GiB it is
less than a hundredth, and only while a reservation is open; where many guests each stop short of it, what is missing is
gathered in the next round, since the host is then still short of what is held."""
CLAIMED_FOR_S: Final = 60.0
"""A guest that has claimed memory touches it little by little; so long it is held for it."""

_CONFIG: Final = ConfigDict(extra="forbid", strict=True, defer_build=True)
_OPEN: Final = frozenset({"asked", "gathering", "ready"})
_FOLLOWING: Final = frozenset({"running"})
_PROMISING: Final = _FOLLOWING | {"new"}
"""A guest that boots gives nothing yet, for longer than a reservation may be hopeless, but will. Of one that is stalled
nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """One of them."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    id: Annotated[int, Field(ge=1)]
    wanted_bytes: Bytes
    asked_at_s: Instant
    by_s: Instant
    """When it is to be ready."""
    keep_s: Annotated[float, Field(gt=0, le=MAX_WAIT_S)]
    """How long it is kept once it is ready."""
    purpose: Annotated[str, Field(max_length=200)] = ""
    state: State = "asked"
    reason: Annotated[str, Field(max_length=1000)] | None = None
    """Why it failed or expired, or what is in the way while it gathers."""
    gathered_bytes: Bytes = 0
    """What of it is there now."""
    hopeless_since_s: Instant | None = None
    changed_at_s: Instant = 0.0
    claimed_by: str | None = None

    @property
    def open(self) -> bool:
        """Whether something can still become of it."""
        return self.state in _OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All of them, oldest first; those that ended a while ago are forgotten."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    reservations: Annotated[tuple[Reservation, ...], Field(max_length=2 * (MAX_OPEN + MAX_ENDED))] = ()
    next_id: Annotated[int, Field(ge=1)] = 1

    def get(self, number: int) -> Reservation:
        """Return a reservation.

        Raises:
            OperatorError: Status 404: there is none with this number, or not any more.
        """
        for reservation in self.reservations:
            if reservation.id == number:
                return reservation
        raise OperatorError(f"there is no reservation {number}", status=404, code="no-such-reservation")


def ask(
    book: Book, view: View, wanted_bytes: int, *, within_s: float, keep_s: float = 300.0, purpose: str = ""
) -> tuple[Book, Reservation]:
    """Return the book with a new reservation in it, and that.

    Raises:
        OperatorError: Status 422: a number is out of range, or the purpose could do something to the terminal on which
            it is printed; 409: there are too many.
    """
    if not purpose.isprintable():
        detail = f"purpose is {purpose!r}, not one line that can be read"
        raise OperatorError(detail, status=422, code="invalid-purpose")
    limit = max(0, view.host.total_bytes - view.host.reserve_bytes)
    if not 0 < wanted_bytes <= limit:
        size = format_size(wanted_bytes) if abs(wanted_bytes) <= MAX_BYTES else "so much"
        detail = f"{size} cannot be reserved: this host has {format_size(limit)} above its reserve"
        raise OperatorError(detail, status=422, code="out-of-range", limit_bytes=limit)
    if not (0 <= within_s <= MAX_WAIT_S and 0 < keep_s <= MAX_WAIT_S):
        raise OperatorError(
            f"a reservation waits and is kept for up to {MAX_WAIT_S:.0f} s", status=422, code="out-of-range"
        )
    if sum(reservation.open for reservation in book.reservations) >= MAX_OPEN:
        raise OperatorError(f"there are {MAX_OPEN} reservations already", status=409, code="too-many-reservations")
    now_s = view.now_s
    made = Reservation(
        id=book.next_id,
        wanted_bytes=wanted_bytes,
        asked_at_s=now_s,
        by_s=now_s + within_s,
        keep_s=keep_s,
        purpose=purpose[:200],
        changed_at_s=now_s,
    )
    return Book(reservations=(*book.reservations, made), next_id=book.next_id + 1), made


def claim(book: Book, number: int, now_s: float, guest: str | None = None) -> Book:
    """Let go of a ready reservation for who asked for it.

    Args:
        book: All reservations.
        number: Whose.
        now_s: The time.
        guest: The guest that is to use it: what it has not touched yet is held for it, for a while. None: nothing is.

    Raises:
        OperatorError: Status 404: there is none; 409: it is not ready.
    """
    reservation = book.get(number)
    if reservation.state != "ready":
        detail = f"reservation {number} is {reservation.state}, not ready"
        raise OperatorError(detail, status=409, code="not-ready")
    return _with(book, replace(reservation, state="claimed", changed_at_s=now_s, claimed_by=guest, reason=None))


def cancel(book: Book, number: int, now_s: float) -> Book:
    """Let go of a reservation that is not needed any more; one that has ended already stays as it is.

    Raises:
        OperatorError: Status 404: there is none.
    """
    reservation = book.get(number)
    if not reservation.open:
        return book
    return _with(book, _ended(reservation, "expired", "it was cancelled", now_s))


def held_bytes(book: Book, view: View, slush_bytes: int = SLUSH_BYTES) -> int:
    """Return what is to be held back from guests now: ``reserved_bytes`` of the host.

    While a reservation is open, ``slush_bytes`` come on top: policies and balloons stop a little short of a goal.
    """
    guests = {guest.name: guest for guest in view.guests}
    held = sum(_held(reservation, guests, view.now_s) for reservation in book.reservations)
    return held + (slush_bytes if any(reservation.open for reservation in book.reservations) else 0)


def step(book: Book, view: View) -> tuple[Book, tuple[Reservation, ...]]:
    """Return the book as it is at the time of ``view``, and the reservations whose state changed."""
    guests = {guest.name: guest for guest in view.guests}
    room = view.host.available_bytes - view.host.reserve_bytes - outstanding(view.guests)
    room -= sum(_held(item, guests, view.now_s) for item in book.reservations if not item.open)
    after, changed = [], []
    for item in book.reservations:
        new = _stepped(item, room, view) if item.open else item
        if new.open:
            room -= new.wanted_bytes
        if new.state != item.state:
            changed.append(new)
        after.append(new)
    return Book(reservations=_recent(after), next_id=book.next_id), tuple(changed)


def _stepped(item: Reservation, room: int, view: View) -> Reservation:
    now_s = view.now_s
    item = replace(item, gathered_bytes=max(0, min(item.wanted_bytes, room)))
    if item.state == "ready":
        late = now_s - item.changed_at_s >= item.keep_s
        return _ended(item, "expired", f"nobody claimed it within {item.keep_s:.0f} s", now_s) if late else item
    if room >= item.wanted_bytes:
        return replace(item, state="ready", changed_at_s=now_s, reason=None, hopeless_since_s=None)
    why = _why_not(item, room, view)
    if now_s >= item.by_s:
        return _ended(item, "failed", f"the time is over: {why}", now_s)
    hopeless = room + _gatherable(view.guests, _PROMISING) < item.wanted_bytes
    since_s = (now_s if item.hopeless_since_s is None else item.hopeless_since_s) if hopeless else None
    if since_s is not None and now_s - since_s >= HOPELESS_AFTER_S:
        return _ended(item, "failed", f"it cannot be done: {why}", now_s)
    if item.state == "asked":
        item = replace(item, state="gathering", changed_at_s=now_s)
    return replace(item, hopeless_since_s=since_s, reason=why)


def _gatherable(guests: Iterable[GuestView], states: frozenset[str] = _FOLLOWING) -> int:
    able = (guest for guest in guests if guest.state in states)
    return sum(max(0, guest.max_bytes - guest.actual_bytes) + guest.outstanding_bytes for guest in able)


def _why_not(item: Reservation, room: int, view: View) -> str:
    there = f"{format_size(max(0, room))} of {format_size(item.wanted_bytes)} is there"
    could = f"guests that follow may give {format_size(_gatherable(view.guests))} more"
    idle = [f"{guest.name} ({guest.state})" for guest in view.guests if guest.state != "running"]
    others = f", and nothing is to be had of {', '.join(idle[:8])}{' and others' if len(idle) > 8 else ''}"
    return f"{there}; {could}{others if idle else ''}"


def _held(item: Reservation, guests: dict[str, GuestView], now_s: float) -> int:
    if item.open:
        return item.wanted_bytes
    if item.claimed_by is None or now_s - item.changed_at_s >= CLAIMED_FOR_S:
        return 0
    guest = guests.get(item.claimed_by)
    return max(0, item.wanted_bytes - ((guest.resident_bytes or 0) if guest else 0))


def _ended(item: Reservation, state: State, reason: str, now_s: float) -> Reservation:
    return replace(item, state=state, reason=reason[:1000], changed_at_s=now_s)


def _with(book: Book, new: Reservation) -> Book:
    return replace(book, reservations=tuple(new if item.id == new.id else item for item in book.reservations))


def _recent(items: list[Reservation]) -> tuple[Reservation, ...]:
    ended = [item.id for item in items if not item.open]
    forgotten = set(ended[: max(0, len(ended) - MAX_ENDED)])
    return tuple(item for item in items if item.id not in forgotten)
