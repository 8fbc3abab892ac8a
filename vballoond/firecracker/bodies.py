"""The JSON objects that clients send, and what is said of those that are none.

Rules of this file:

* Whole numbers are written as such: neither ``4.0`` nor ``"4"`` nor ``true`` is a ``u32``.
* A field that is unknown, missing or stands there twice is an error, so nothing is ever half understood.
* What a client sent is repeated to it in short only.
"""

import json
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .faults import FaultError

MAX_U16: Final = (1 << 16) - 1
MAX_U32: Final = (1 << 32) - 1
_REPEATED_CHARACTERS: Final = 64

U16 = Annotated[int, Field(ge=0, le=MAX_U16)]
U32 = Annotated[int, Field(ge=0, le=MAX_U32)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BalloonConfig(_Body):
    """``Balloon``: the whole configuration."""

    amount_mib: U32
    deflate_on_oom: bool
    stats_polling_interval_s: U16 = 0
    free_page_hinting: bool = False
    free_page_reporting: bool = False


class BalloonUpdate(_Body):
    """``BalloonUpdate``: another target."""

    amount_mib: U32


class StatisticsUpdate(_Body):
    """``BalloonStatsUpdate``: another interval."""

    stats_polling_interval_s: U16


class HintingStart(_Body):
    """``BalloonStartCmd``."""

    acknowledge_on_stop: bool = True


Body = TypeVar("Body", bound=BaseModel)


def read_body(data: bytes, model: type[Body]) -> Body:
    """Return ``data`` as a ``model``.

    Raises:
        FaultError: It is none; the message names the first field that is wrong.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise _not_read(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise _not_read(f"invalid UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise _not_read("recursion limit exceeded") from error
    except ValueError as error:
        raise _not_read("number out of range") from error
    if not isinstance(value, dict):
        raise _not_read(f"invalid type: {type(value).__name__}, expected an object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _not_read(_explain(error.errors(include_url=False)[0], model)) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, value in pairs:
        if name in read:
            raise _not_read(f"duplicate field `{_short(name)}`")
        read[name] = value
    return read


def _not_read(why: str) -> FaultError:
    return FaultError(f"An error occurred when deserializing the json body of a request: {why}.")


def _explain(problem: Any, model: type[BaseModel]) -> str:
    field = str(problem["loc"][0])
    match problem["type"]:
        case "extra_forbidden":
            known = ", ".join(f"`{name}`" for name in model.model_fields)
            return f"unknown field `{_short(field)}`, expected {'one of ' if ',' in known else ''}{known}"
        case "missing":
            return f"missing field `{field}`"
    return f"invalid value of field `{field}`: expected {_KINDS[field]}, not {_in_words(problem['input'])}"


_KINDS: Final = {
    "amount_mib": "u32",
    "stats_polling_interval_s": "u16",
    "deflate_on_oom": "a boolean",
    "free_page_hinting": "a boolean",
    "free_page_reporting": "a boolean",
    "acknowledge_on_stop": "a boolean",
}


def _in_words(value: Any) -> str:
    return _short(json.dumps(value)) if isinstance(value, bool | int | float | str | None) else type(value).__name__


def _short(text: str) -> str:
    return text if len(text) <= _REPEATED_CHARACTERS else f"{text[:_REPEATED_CHARACTERS]}..."
