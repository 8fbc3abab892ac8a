"""What a resize has come to, in words, and what to do where it has not come far enough."""

from collections.abc import Mapping
from typing import Any, Final

from ..sizes import format_size
from .wording import size_argument

Balloon = Mapping[str, Any]

_REACHED: Final = frozenset({"done", "settled"})


def reached(balloon: Balloon) -> bool:
    """Say whether the balloon has the size that it was to have, or has settled for the one that could be had."""
    resize = balloon["resize"]
    return bool(resize["done"]) if resize.get("outcome") is None else resize["outcome"] in _REACHED


def summary(balloon: Balloon) -> str:
    """Say in one line how far the balloon is."""
    resize = balloon["resize"]
    text = f"{balloon['name']}: {format_size(balloon['actual_bytes'])} of {format_size(balloon['target_bytes'])}"
    taken = f"the guest takes {format_size(balloon['resident_bytes'] or 0)} of the host"
    if resize.get("outcome") == "settled":
        return f"{text}, settled for less than {format_size(resize['target_bytes'])}; {taken}"
    if reached(balloon):
        return f"{text}, done; {taken}"
    return f"{text}, {resize['stalled'] or 'under way'}"


def not_reached(balloon: Balloon, wait_s: float) -> tuple[str, str]:
    """Say why the target is not reached, and the next step."""
    resize, name = balloon["resize"], balloon["name"]
    target = format_size(resize["target_bytes"])
    text = f"{name} has not reached {target} "
    if resize.get("outcome") == "expired":
        text += "by its deadline"
    else:
        text += f"within {wait_s:g} s"
    reason = resize["stalled"] or f"it is at {format_size(balloon['actual_bytes'])} and moves"
    return f"{text}: {reason}", _next_step(balloon)


def _next_step(balloon: Balloon) -> str:
    name, resize = balloon["name"], balloon["resize"]
    kept, asked = size_argument(balloon["actual_bytes"]), size_argument(resize["target_bytes"])
    stall = resize.get("stall") or _STATES.get(balloon["state"])
    match stall:
        case "no-driver":
            return f"the target is kept until a driver comes; 'vballoond watch {name}' shows when"
        case "paused":
            return f"resume the VM or load its driver: the target is kept; 'vballoond set {name} {kept}' gives it up"
        case "broken":
            return f"load the guest's driver again, or boot the guest; 'vballoond show {name}' says what it did"
        case "host-slow":
            return f"the host is slow to take pages back; 'vballoond watch {name}' shows how it goes on"
    if resize.get("settle"):
        return f"wait longer with --wait: it settles by itself; 'vballoond set {name} {kept}' does so now"
    if stall is not None or resize["stalled"]:
        return f"'vballoond set {name} {kept}' keeps what it has; 'set {name} {asked} --settle' does so by itself"
    return f"it goes on: 'vballoond watch {name}' shows it, 'vballoond set {name} {kept}' stops it here"


_STATES: Final = {"waiting": "no-driver", "paused": "paused", "broken": "broken"}
