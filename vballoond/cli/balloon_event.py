"""Events of the daemon as the command line reads them, and a sentence for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..sizes import format_size
from .client import json_object
from .server_sent_events import Event
from .wording import duration, seconds_between, size

RESIZE_KINDS: Final = frozenset(
    f"resize-{what}" for what in ("begun", "stalled", "moving", "done", "superseded", "settled", "expired")
)


@dataclass(frozen=True, slots=True)
class BalloonEvent:
    """What happened, to which balloon (None: to the daemon), when."""

    kind: str
    id: str
    at: str | None
    balloon: str | None
    data: Mapping[str, Any] = field(default_factory=dict)

    def member(self, name: str) -> Mapping[str, Any]:
        """Return an object in the data; an empty one where there is none."""
        value = self.data.get(name)
        return value if isinstance(value, dict) else {}

    def as_json(self) -> dict[str, Any]:
        """Return it as one flat object, which begins with what every event has."""
        return {"id": self.id, "event": self.kind, **self.data}

    def sentence(self) -> str:
        """Say for people what happened. An event that this command does not know is said by its name."""
        tell = _SENTENCES.get(self.kind)
        try:
            return self.kind if tell is None else tell(self)
        except (KeyError, TypeError, ValueError):
            return self.kind


def balloon_event(event: Event) -> BalloonEvent | None:
    """Read an event; None if its data is no JSON object."""
    data = json_object(event.data)
    if data is None:
        return None
    balloon = data.get("balloon")
    if isinstance(balloon, dict):  # what a balloon is from now on
        balloon = balloon.get("name")
    at = data.get("at")
    return BalloonEvent(
        event.kind,
        event.id,
        at if isinstance(at, str) else None,
        balloon if isinstance(balloon, str) else None,
        data,
    )


def _always(sentence: str) -> Callable[[BalloonEvent], str]:
    def tell(event: BalloonEvent) -> str:
        del event
        return sentence

    return tell


def _resize(what: str) -> Callable[[BalloonEvent], str]:
    def tell(event: BalloonEvent) -> str:
        resize = event.data["resize"]
        return what.format(
            id=resize["id"],
            target=format_size(resize["target_bytes"]),
            origin=size(resize.get("from_bytes")),
            reason=resize.get("stalled") or "nothing moves",
            took=duration(seconds_between(resize.get("started_at"), resize.get("ended_at")) or 0),
        )

    return tell


def _sizes(event: BalloonEvent) -> str:
    actual, target, resident = (event.data[f"{name}_bytes"] for name in ("actual", "target", "resident"))
    return f"{format_size(actual)} of {format_size(target)}, takes {size(resident)} of the host"


def _statistics(event: BalloonEvent) -> str:
    said = event.data["statistics"]["statistics"]
    named = [(tag, said[tag]) for tag in ("free_memory", "available_memory", "total_memory") if tag in said]
    return ", ".join(f"{tag.removesuffix('_memory')} {format_size(value)}" for tag, value in named) or "statistics"


def _policy(event: BalloonEvent) -> str:
    moves = [
        f"{each['balloon']} {format_size(each['from_bytes'])} -> {format_size(each['target_bytes'])} ({each['reason']})"
        for each in event.data["decisions"]
    ]
    alerts = [f"{each['balloon'] or 'host'}: {each['message']}" for each in event.data["alerts"]]
    problem = event.data["problem"]
    said = [*moves, *alerts, *([problem.splitlines()[0]] if problem else [])]
    return f"policy {event.data['policy']}: {'; '.join(said) or 'acts from now on'}"


def _reservation(event: BalloonEvent) -> str:
    reservation = event.data["reservation"]
    why = f": {reservation['reason']}" if reservation["reason"] else ""
    return f"reservation {reservation['id']} of {format_size(reservation['bytes'])} {reservation['state']}{why}"


_SENTENCES: Final[dict[str, Callable[[BalloonEvent], str]]] = {
    "balloon-added": _always("added"),
    "balloon-removed": _always("removed"),
    "balloon-retired": _always("retired: served until its VM goes, and no longer listed"),
    "balloon-changed": _always("its settings have changed"),
    "connected": _always("a front-end has connected"),
    "disconnected": _always("the front-end has gone"),
    "negotiated": lambda event: f"the driver takes {' '.join(event.data['features']) or 'no features'}",
    "state": lambda event: event.data["state"] + (f": {event.data['reason']}" if event.data.get("reason") else ""),
    "broken": lambda event: f"broken by its driver: {event.data['reason']}",
    "sizes": _sizes,
    "resize-begun": _resize("resize #{id} to {target} from {origin}"),
    "resize-stalled": _resize("resize #{id} to {target} stalled: {reason}"),
    "resize-moving": _resize("resize #{id} to {target} moves again"),
    "resize-done": _resize("resize #{id}: {target} reached after {took}"),
    "resize-superseded": _resize("resize #{id} to {target} superseded by another"),
    "resize-settled": _resize("resize #{id} to {target} settled after {took} for what the guest gave"),
    "resize-expired": _resize("resize #{id} to {target} expired after {took}; the target stays"),
    "target-clamped": lambda event: (
        f"target {format_size(event.data['target_bytes'])} is more than fits: {format_size(event.data['limit_bytes'])}"
    ),
    "statistics": _statistics,
    "policy": _policy,
    "reservation": _reservation,
    "events-lost": _always("events before this are missing: whoever follows them reads everything again"),
}
