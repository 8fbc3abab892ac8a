"""A stream of events that goes on over broken connections.

Rules of this file:

* It blocks, so it runs in a thread of its own, or is all that a command does.
* After a break it goes on behind the last event that it has seen. What cannot be had again the daemon says
  (``events-lost``), and whoever reads must read everything again.
* Nobody at the very first, or a refusal at any time, is an error; nobody later is a break, however long.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from .client import RefusedError, UnreachableError
from .server_sent_events import Event, EventError, EventParser

_CUT_OFF: Final = "the connection was cut off"


@dataclass(frozen=True, slots=True)
class Connected:
    """The daemon answers, for the first time or again."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection broke; it is tried again."""

    reason: str


Report = Event | Connected | Lost


class Body(Protocol):
    """A body that goes on, as :class:`client.Stream` is."""

    def read(self) -> bytes:
        """Return what comes next, b"" at the end."""

    def close(self) -> None:
        """End a read in another thread."""

    def release(self) -> None:
        """Give up what it has."""


class EventStream:
    """Events of one path, from now on or behind ``last_id``.

    Args:
        open_at: Opens the stream behind the event with this id ("": at now), as :meth:`client.Client.stream` does.
        last_id: Behind which event to begin.
        pause: Waits for so many seconds, or until the stream is closed; returns whether it was.
    """

    def __init__(
        self, open_at: Callable[[str], Body], last_id: str = "", pause: Callable[[float], bool] | None = None
    ) -> None:
        self._open_at: Final = open_at
        self._closed: Final = threading.Event()
        self._pause: Final = pause or self._closed.wait
        self._lock: Final = threading.Lock()
        self._body: Body | None = None
        self._last_id = last_id
        self._retry_ms = 1000
        self._ever = False

    def reports(self) -> Iterator[Report]:
        """Return what happens, until :meth:`close`.

        Raises:
            RefusedError: The daemon refuses it, as for a balloon that is gone.
            UnreachableError: Nobody answers at the very first.
        """
        while not self._closed.is_set():
            try:
                body = self._open()
            except UnreachableError as error:
                if not self._ever:
                    raise
                yield Lost(str(error))
            except RefusedError as error:
                if error.status < 500:
                    raise
                yield Lost(str(error))
            else:
                self._ever = True
                try:
                    yield Connected()
                    yield from self._read(body)
                finally:
                    body.release()
            if self._pause(self._retry_ms / 1000):
                return

    def close(self) -> None:
        """End it, from any thread; may be called again."""
        with self._lock:
            self._closed.set()
            if self._body is not None:
                self._body.close()

    def _open(self) -> Body:
        body = self._open_at(self._last_id)
        with self._lock:
            self._body = body
            if self._closed.is_set():
                body.close()
        return body

    def _read(self, body: Body) -> Iterator[Report]:
        parser = EventParser(self._last_id, self._retry_ms)
        reason = "the daemon ended the connection"
        try:
            while piece := body.read():
                events = parser.feed(piece)
                self._last_id, self._retry_ms = parser.last_id, parser.retry_ms
                yield from events
        except (OSError, EventError) as error:
            reason = getattr(error, "strerror", None) or str(error) or _CUT_OFF
        except (ValueError, http.client.HTTPException):
            reason = _CUT_OFF
        if not self._closed.is_set():
            yield Lost(reason)
