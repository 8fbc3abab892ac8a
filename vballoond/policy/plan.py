"""What a policy wishes, and whether what a script returned is that.

Rules of this file:

* A wish is not an order: bounds, steps and what the host has are the guard's. So a wish beyond a guest's bounds is in
  order, but not one that means nothing: no number, negative, more than the guest's memory, for a guest that is not
  there.
* What a script returned is of any type. Types are compared exactly, since a subclass could answer anything.
* The same check is made where the script runs, to be able to show its lines, and again in the daemon.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, TypeVar

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from ..errors import PolicyError
from .nesting import MAX_DEPTH, too_deep
from .view import MAX_BYTES, GuestView, View, first_problem

MAX_MEMORY_BYTES: Final = 64 << 10
"""What a policy can remember."""
MAX_REASON_CHARACTERS: Final = 500
MAX_ALERTS: Final = 100
MAX_RESERVES: Final = 100
MAX_PLAN_BYTES: Final = 16 << 20
"""A plan for as many guests as there can be, with reasons of common length."""

_CONFIG: Final = ConfigDict(extra="forbid", strict=True, defer_build=True)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Wish:
    """A guest's balloon is to become ``target_bytes``, the guest's loss; ``reason`` says why, in one line."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    guest: str
    target_bytes: int | float
    reason: str

    @classmethod
    def balloon(cls, guest: GuestView, balloon_bytes: float, reason: str) -> Self:
        """Wish for a balloon of this size, cut to the guest's bounds."""
        return cls(guest.name, guest.bounded(balloon_bytes), reason)

    @classmethod
    def size(cls, guest: GuestView, size_bytes: float, reason: str) -> Self:
        """Wish that the guest is left with this much, cut to its bounds."""
        return cls(guest.name, guest.balloon_for(size_bytes), reason)


@dataclass(frozen=True, slots=True)
class Reserve:
    """Until the next plan, so much of the host's memory is to be held back from guests that grow."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    held_bytes: int | float
    reason: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that people should know; of one guest, or of the host (None)."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    guest: str | None
    message: str
    level: Literal["info", "warning"] = "warning"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy answers. A guest for which it has no wish stays as it is."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    wishes: tuple[Wish, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    alerts: tuple[Alert, ...] = ()
    memory: JsonValue = field(default_factory=dict)
    """Given back as ``view.memory``: plain JSON data, of 64 KiB at most."""


_ADAPTER: Final = TypeAdapter(Plan)


def plan_data(plan: Plan) -> dict[str, Any]:
    """Return ``plan`` as plain JSON data."""
    return asdict(plan)


def plan_json(plan: Plan) -> bytes:
    """Return a plan that was checked as JSON."""
    return json.dumps(plan_data(plan), allow_nan=False).encode()


def read_plan(text: bytes, view: View) -> Plan:
    """Return the plan that a policy's process sent for ``view``.

    Raises:
        PolicyError: It is none, or one that means nothing.
    """
    return check_plan(parse_plan(text), view)


def parse_plan(text: bytes) -> Plan:
    """Return the plan that ``text`` is; whether it means anything has not been looked at.

    Raises:
        PolicyError: It is none.
    """
    if len(text) > MAX_PLAN_BYTES:
        _refuse(f"a plan of {len(text)} bytes came; {MAX_PLAN_BYTES} are the most")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise PolicyError(f"what came is no plan: {first_problem(error)}") from error


def check_plan(returned: object, view: View) -> Plan:
    """Return what a script returned for ``view``, with whole bytes and plain memory.

    Raises:
        PolicyError: It means nothing; the message says what was wrong, and what would be right.
    """
    if type(returned) is not Plan:
        _refuse(f"plan() returned {_kind(returned)}, not a Plan")
    guests = {guest.name: guest for guest in view.guests}
    try:
        return Plan(
            wishes=_wishes(returned.wishes, guests),
            reserves=tuple(_reserve(item) for item in _items("reserves", returned.reserves, Reserve, MAX_RESERVES)),
            alerts=tuple(_alert(item, guests) for item in _items("alerts", returned.alerts, Alert, MAX_ALERTS)),
            memory=_memory(returned.memory),
        )
    except AttributeError as error:
        raise PolicyError(f"a part of the plan is missing: {error}") from error


def _wishes(wishes: object, guests: Mapping[str, GuestView]) -> tuple[Wish, ...]:
    checked: dict[str, Wish] = {}
    for wish in _items("wishes", wishes, Wish, len(guests)):
        name = _known(wish.guest, guests, "a wish")
        if name in checked:
            _refuse(f"there are two wishes for guest {name!r}; give one")
        limit = guests[name].memory_bytes
        target = _whole_bytes(wish.target_bytes, f"target_bytes of the wish for {name!r}", limit)
        checked[name] = Wish(name, target, _line(wish.reason, f"reason of the wish for {name!r}"))
    return tuple(checked.values())


def _reserve(reserve: Reserve) -> Reserve:
    held = _whole_bytes(reserve.held_bytes, "held_bytes of a reserve", MAX_BYTES)
    return Reserve(held, _line(reserve.reason, "reason of a reserve"))


def _alert(alert: Alert, guests: Mapping[str, GuestView]) -> Alert:
    guest = None if alert.guest is None else _known(alert.guest, guests, "an alert")
    if type(alert.level) is not str or alert.level not in {"info", "warning"}:
        _refuse(f"level of an alert is {_kind(alert.level)}, neither 'info' nor 'warning'")
    return Alert(guest, _line(alert.message, "message of an alert"), alert.level)


def _items(what: str, items: object, kind: type[_Item], most: int) -> tuple[_Item, ...]:
    if type(items) not in {tuple, list}:
        _refuse(f"{what} is {_kind(items)}, not a tuple of {kind.__name__}")
    listed: list[Any] = list(items)  # type: ignore[call-overload]  # a tuple or a list, as was just seen
    for item in listed:
        if type(item) is not kind:
            _refuse(f"among {what} is {_kind(item)}, not a {kind.__name__}")
    if len(listed) > most:
        _refuse(f"there are {len(listed)} {what}; {most} are the most")
    return tuple(listed)


def _known(name: object, guests: Mapping[str, GuestView], whose: str) -> str:
    if type(name) is not str:
        _refuse(f"{whose} names {_kind(name)} as its guest, not a guest's name")
    if name not in guests:
        _refuse(f"{whose} is for guest {name[:64]!r}, which the view does not have")
    return name


def _whole_bytes(value: object, what: str, limit: int) -> int:
    if type(value) is float and math.isfinite(value):
        value = int(value)
    if type(value) is not int:
        shown = repr(value) if type(value) is float else _kind(value)
        _refuse(f"{what} is {shown}, not a number of bytes")
    if not 0 <= value <= limit:
        _refuse(f"{what} is {_short(value)}, outside of 0 to {limit}")
    return value


def _short(value: int) -> str:
    return str(value) if value.bit_length() <= 128 else f"a number of {value.bit_length()} bits"


def _line(text: object, what: str) -> str:
    if type(text) is not str:
        _refuse(f"{what} is {_kind(text)}, not a text")
    if not text.strip() or not text.isprintable():
        _refuse(f"{what} is {text[:40]!r}, not one line that can be read")
    if len(text) > MAX_REASON_CHARACTERS:
        _refuse(f"{what} has {len(text)} characters; {MAX_REASON_CHARACTERS} are the most")
    return text


def _memory(memory: object) -> JsonValue:
    try:
        text = json.dumps(memory, allow_nan=False, ensure_ascii=False).encode()
        plain: JsonValue = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise PolicyError(f"memory is not plain JSON data: {str(error)[:200]}") from error
    if len(text) > MAX_MEMORY_BYTES:
        _refuse(f"memory has {len(text)} bytes as JSON; {MAX_MEMORY_BYTES} are the most")
    if too_deep(plain):
        _refuse(f"memory nests more than {MAX_DEPTH} levels deep")
    if plain != memory:
        _refuse("memory would come back as something else: use texts as keys, and lists instead of tuples")
    return plain


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _refuse(message: str) -> NoReturn:
    raise PolicyError(message)
