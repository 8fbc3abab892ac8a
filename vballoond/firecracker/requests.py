"""What a client asks for, told from method, path and body alone.

Rules of this file:

* A path may begin with the scheme and a host, and end with a slash. Anything else beyond a known path is refused, where
  Firecracker's own code takes some of it for the known one.
* A body is looked at before the balloon is, so a malformed request is told so whatever the state.
* An empty body is none. Only ``hinting/stop`` has one that is not looked at.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .bodies import BalloonConfig, BalloonUpdate, HintingStart, StatisticsUpdate, read_body
from .faults import FaultError

_SCHEME: Final = "http://"
_REPEATED_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class ShowBalloon:
    """The configuration is asked for."""


@dataclass(frozen=True, slots=True)
class ShowStatistics:
    """The newest statistics are asked for."""


@dataclass(frozen=True, slots=True)
class ShowHinting:
    """How far hinting is."""


@dataclass(frozen=True, slots=True)
class StopHinting:
    """The driver may have its pages again."""


Request = (
    ShowBalloon
    | BalloonConfig
    | BalloonUpdate
    | ShowStatistics
    | StatisticsUpdate
    | HintingStart
    | ShowHinting
    | StopHinting
)
"""What there is to ask for; a body that says it all is the request."""


def parse(method: str, target: str, body: bytes) -> Request:
    """Return what is asked for.

    Args:
        method: As it was sent.
        target: The request's target: a path, or one with scheme and host.
        body: All of it; empty: none.

    Raises:
        FaultError: Nothing that there is.
    """
    first, *rest = _tokens(target)
    match method:
        case "GET":
            return _get(first, rest, body)
        case "PUT":
            return _put(first, rest, body)
        case "PATCH":
            return _patch(first, rest, body)
        case "DELETE" if body:
            raise FaultError("Empty Delete request.")
        case "DELETE":
            raise _nothing_there(method, first)
    raise FaultError("Invalid HTTP Method: Unsupported HTTP method.")


def _tokens(target: str) -> list[str]:
    """Return the parts of a path, one at least."""
    if target.startswith(_SCHEME):
        _, slash, path = target.removeprefix(_SCHEME).partition("/")
        target = slash + path
    if not target.startswith("/"):
        return [""]
    return target.lstrip("/").removesuffix("/").split("/")


def _get(first: str, rest: list[str], body: bytes) -> Request:
    if body:
        raise FaultError("GET request cannot have a body.")
    if first != "balloon":
        raise _nothing_there("GET", first)
    match rest:
        case []:
            return ShowBalloon()
        case ["statistics"]:
            return ShowStatistics()
        case ["hinting", "status"]:
            return ShowHinting()
    raise _unrecognized("GET", rest)


def _put(first: str, rest: list[str], body: bytes) -> Request:
    if not body:
        raise FaultError("Empty PUT request.")
    if first != "balloon" or rest:
        raise _nothing_there("PUT", first, *rest)
    return read_body(body, BalloonConfig)


def _patch(first: str, rest: list[str], body: bytes) -> Request:
    path = "/".join([first, *rest])
    if path in _PATCHED_WITHOUT_BODY:
        return _PATCHED_WITHOUT_BODY[path](body)
    if path.startswith("balloon/hinting"):
        raise _unrecognized("PATCH", rest)
    if not body:
        raise FaultError("Empty PATCH request.")
    if path in _PATCHED:
        return _PATCHED[path](body)
    raise _nothing_there("PATCH", first, *rest)


_PATCHED: Final[Mapping[str, Callable[[bytes], Request]]] = {
    "balloon": lambda body: read_body(body, BalloonUpdate),
    "balloon/statistics": lambda body: read_body(body, StatisticsUpdate),
}
_PATCHED_WITHOUT_BODY: Final[Mapping[str, Callable[[bytes], Request]]] = {
    "balloon/hinting/start": lambda body: read_body(body, HintingStart) if body else HintingStart(),
    "balloon/hinting/stop": lambda _: StopHinting(),
}


def _unrecognized(method: str, rest: list[str]) -> FaultError:
    path = f"/hinting/{'/'.join(rest[1:])}" if rest[0] == "hinting" else "/".join(rest)
    return FaultError(f"Unrecognized {method} request path `{_short(path)}`.")


def _nothing_there(method: str, first: str, *rest: str) -> FaultError:
    path = "/".join([first, *rest]) if first == "balloon" else first
    return FaultError(f"Invalid request method and/or path: {method} {_short(path)}.")


def _short(text: str) -> str:
    return text if len(text) <= _REPEATED_CHARACTERS else f"{text[:_REPEATED_CHARACTERS]}..."
