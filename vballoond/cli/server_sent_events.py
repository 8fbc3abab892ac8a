"""Server-sent events, sans-I/O: bytes in, events out, as the HTML standard reads them.

Rules of this file:

* How the bytes are cut into pieces makes no difference.
* Whatever comes, no more than :data:`MAX_EVENT_BYTES` of it is kept.
"""

from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 4 << 20
"""Densities of a whole screen are some ten thousand bytes; what is larger than this is no event of ours."""

MAX_RETRY_MS: Final = 60_000
_DEFAULT_RETRY_MS: Final = 1000


class EventError(Exception):
    """What comes is no stream of events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: ``id`` is what to go on behind after a break."""

    kind: str
    data: str
    id: str = ""


class EventParser:
    """Reads one connection's bytes.

    Attributes:
        last_id: The id of the last event that came whole.
        retry_ms: How long to wait before connecting again.
    """

    def __init__(self, last_id: str = "", retry_ms: int = _DEFAULT_RETRY_MS) -> None:
        self.last_id = last_id
        self.retry_ms = retry_ms
        self._line: Final = bytearray()
        self._after_return = False
        self._at_begin = True
        self._id = last_id
        self._kind = ""
        self._data: list[str] = []
        self._data_bytes = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Take in what came; return the events that it completes.

        Raises:
            EventError: An event is larger than any that the daemon sends.
        """
        if not piece:
            return []
        after_return, self._after_return = self._after_return, piece.endswith(b"\r")
        if after_return:
            piece = piece.removeprefix(b"\n")
        *ended, rest = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for part in ended:
            self._keep(part)
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._keep(rest)
        return events

    def _keep(self, part: bytes) -> None:
        if self._data_bytes + len(self._line) + len(part) > MAX_EVENT_BYTES:
            raise EventError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
        self._line.extend(part)

    def _end_line(self) -> Event | None:
        line = self._line.decode("utf-8", "replace")
        self._line.clear()
        if self._at_begin:
            line = line.removeprefix("\ufeff")
            self._at_begin = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        self._take(name, value.removeprefix(" "))
        return None

    def _take(self, name: str, value: str) -> None:
        match name:
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
                self._data_bytes += len(value) + 1
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= len(str(MAX_RETRY_MS)):
                self.retry_ms = min(int(value), MAX_RETRY_MS)

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        event = Event(self._kind or "message", "\n".join(self._data), self.last_id) if self._data else None
        self._kind, self._data, self._data_bytes = "", [], 0
        return event
