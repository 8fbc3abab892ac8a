"""Reading what a policy remembered. It can be of an older version of the policy, or of another one, so anything that
is not as expected counts as forgotten."""  # noqa: D205, D209 (one sentence)

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from .plan import MAX_MEMORY_BYTES

_ROOM: Final = MAX_MEMORY_BYTES - (4 << 10)
"""Something is left for what a policy remembers of the host."""


def part(memory: JsonValue, name: str) -> Mapping[str, Any]:
    """Return the object that stands under ``name``, or an empty one."""
    found = memory.get(name) if isinstance(memory, dict) else None
    return found if isinstance(found, dict) else {}


def number(memory: Any, name: str, otherwise: float) -> float:
    """Return the finite number that stands under ``name``."""
    found = memory.get(name) if isinstance(memory, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return otherwise
    try:
        value = float(found)
    except OverflowError:
        return otherwise
    return value if math.isfinite(value) else otherwise


def numbers(memory: Any, name: str, most: int) -> list[float]:
    """Return the last ``most`` of the numbers in the list that stands under ``name``."""
    found = memory.get(name) if isinstance(memory, dict) else None
    if not isinstance(found, list):
        return []
    read = [number({"": item}, "", math.nan) for item in found[max(0, len(found) - most) :]]
    return [item for item in read if math.isfinite(item)]


def fitting(guests: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return what is remembered of each guest, as far as there is room: the guests beyond that are new each time."""
    kept: dict[str, JsonValue] = {}
    room = _ROOM
    for name, value in guests.items():
        room -= len(json.dumps({name: value}))
        if room < 0:
            break
        kept[name] = value
    return kept
