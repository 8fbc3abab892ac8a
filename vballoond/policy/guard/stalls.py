"""Which guests do not follow their targets.

Rules of this file:

* A guest stalls when it has had something to do and has not moved towards it for longer than ``stall_after_s``. Any
  movement counts, as for squeezed: a slow guest is not a stuck one.
* A stalled guest is tried again after a while, which doubles each time that nothing comes of it. A policy sees it as
  ``stalled`` until then, so that it can turn to others.
* Looking twice at one view changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...sizes import format_size
from ..plan import Alert
from ..view import GuestView, View
from .limits import Limits
from .state import GuardState, GuestRecord


@dataclass(frozen=True, slots=True)
class Observed:
    """The view with ``new``, ``silent`` and ``stalled`` in it, and what is to be remembered."""

    view: View
    state: GuardState
    alerts: tuple[Alert, ...] = ()


def observe(view: View, state: GuardState, limits: Limits) -> Observed:
    """Look at what the guests did since the round before. Guests that are gone are forgotten.

    A policy is asked about the view that comes out of this; ``guard`` looks again, which changes nothing.
    """
    alerts = []
    records = {}
    guests = []
    for seen in view.guests:
        before = state.guests.get(seen.name) or _first(seen, view.now_s)
        guest = _alone(seen, before, view.now_s, limits)
        record = _observe(guest, before, view.now_s, limits)
        if _uncooperative(record, view.now_s, limits) and not record.told:
            record = replace(record, told=True)
            alerts.append(_alert(guest, record, view.now_s))
        records[guest.name] = record
        stalled = guest.state == "running" and record.stalled_at_s is not None
        guests.append(replace(guest, state="stalled") if stalled else guest)
    return Observed(replace(view, guests=tuple(guests)), GuardState(at_s=state.at_s, guests=records), tuple(alerts))


def _first(guest: GuestView, now_s: float) -> GuestRecord:
    return GuestRecord(first_seen_s=now_s, actual_bytes=guest.actual_bytes, progress_at_s=now_s, asked_at_s=now_s)


def _alone(guest: GuestView, record: GuestRecord, now_s: float, limits: Limits) -> GuestView:
    if guest.state != "running":
        return guest
    if now_s - record.first_seen_s < limits.new_for_s:
        return replace(guest, state="new")
    if guest.statistics is not None and guest.statistics.stale:
        return replace(guest, state="silent")
    return guest


def _observe(guest: GuestView, record: GuestRecord, now_s: float, limits: Limits) -> GuestRecord:
    to_go = guest.target_bytes - guest.actual_bytes
    had_to_go = guest.target_bytes - record.actual_bytes
    moved = guest.actual_bytes - record.actual_bytes
    record = replace(record, actual_bytes=guest.actual_bytes)
    if moved and had_to_go and (moved > 0) == (had_to_go > 0):  # to the target, or beyond it, is towards it, too
        return replace(record, progress_at_s=now_s, asked_at_s=now_s, stalls=0, stalled_at_s=None, told=False)
    if record.stalled_at_s is not None:
        if now_s <= record.retry_at_s:
            return record
        record = replace(record, stalled_at_s=None, asked_at_s=now_s)
    if abs(to_go) <= limits.inaccuracy_bytes or guest.state not in {"running", "stalled"}:
        return replace(record, progress_at_s=now_s, asked_at_s=now_s)
    if now_s - record.asked_at_s > limits.stall_after_s:
        return _stalled(record, now_s, limits)
    return record


def _stalled(record: GuestRecord, now_s: float, limits: Limits) -> GuestRecord:
    stalls = min(record.stalls + 1, 1000)
    wait_s = min(limits.back_off_s * 2.0 ** min(stalls - 1, 60), limits.most_back_off_s)
    return replace(record, stalls=stalls, stalled_at_s=now_s, retry_at_s=now_s + wait_s)


def _uncooperative(record: GuestRecord, now_s: float, limits: Limits) -> bool:
    return record.stalls > 0 and now_s - record.progress_at_s > limits.uncooperative_after_s


def _alert(guest: GuestView, record: GuestRecord, now_s: float) -> Alert:
    to_go = guest.target_bytes - guest.actual_bytes
    verb = "give up" if to_go > 0 else "take back"
    what = f"was to {verb} {format_size(abs(to_go))}" if to_go else f"was asked {record.stalls} times"
    return Alert(guest.name, f"{what}, and has not moved for {now_s - record.progress_at_s:.0f} s")


def outstanding(guests: Iterable[GuestView]) -> int:
    """Return what guests may still take back by the targets that they have."""
    return sum(guest.outstanding_bytes for guest in guests)
