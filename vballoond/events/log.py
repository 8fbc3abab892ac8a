"""The newest events, and those who wait for more.

Rules of this file:

* An id is ``RUN-NUMBER``: numbers count up from 1 in each run of the daemon, so an id says whether its run is over.
* Whoever names the last id that it saw is told everything behind it, or that some of it is lost.
* Nobody is waited for. A listener that is :data:`MOST_BEHIND` events behind is let go, and comes again.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

REMEMBERED: Final = 16384
"""Events to catch up with: more than a minute of 200 balloons that resize all the time, and hours of ten."""

MOST_BEHIND: Final = 1024


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        id: By which a listener names the last one that it saw.
        kind: What, as ``resize-done``.
        at: When.
        balloon: To which balloon; None: to the daemon.
        data: The particulars: plain JSON data, and times.
    """

    id: str
    kind: str
    at: datetime
    balloon: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def json(self) -> str:
        """When, where and the particulars as one line of JSON, made once for all who listen."""
        body = {"at": self.at, "balloon": self.balloon, **self.data}
        return json.dumps(body, separators=(",", ":"), default=_in_rfc3339)


def _in_rfc3339(value: Any) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"an event with {value!r}, which is no plain data")
    return value.isoformat().replace("+00:00", "Z")


class SlowListenerError(Exception):
    """A listener took too long, and is told no more."""


class EventLog:
    """All events of one run.

    Args:
        run: Names the run; different for each.
        now: What time it is.
    """

    def __init__(self, run: str, now: Callable[[], datetime]) -> None:
        self._run: Final = run
        self._now: Final = now
        self._number = 0
        self._newest: Final[deque[Event]] = deque(maxlen=REMEMBERED)
        self._listeners: Final[set[_Listener]] = set()

    def publish(self, kind: str, balloon: str | None = None, **data: Any) -> None:
        """Tell everybody; returns at once."""
        self._number += 1
        event = Event(f"{self._run}-{self._number}", kind, self._now(), balloon, data)
        self._newest.append(event)
        for listener in list(self._listeners):
            listener.hear(event)

    def behind(self, last_id: str | None) -> tuple[list[Event], bool]:
        """Return what came after ``last_id``, and whether all of it is there. None: what is new from now on."""
        if last_id is None:
            return [], True
        run, _, number = last_id.rpartition("-")
        if run != self._run or not (number.isascii() and number.isdecimal()) or int(number) > self._number:
            return list(self._newest), False
        first = self._number - len(self._newest)  # the number before the oldest that is remembered
        events = list(self._newest)[max(0, int(number) - first) :]
        return events, int(number) >= first

    async def listen(self, last_id: str | None = None) -> AsyncGenerator[Event]:
        """Yield events as they come, behind what was missed since ``last_id``; first ``events-lost`` where some is.

        Raises:
            SlowListenerError: Whoever iterates took too long.
        """
        listener = _Listener()
        self._listeners.add(listener)  # before anything is yielded, so that nothing is missed in between
        try:
            missed, whole = self.behind(last_id)
            if not whole:
                yield Event(missed[0].id if missed else f"{self._run}-0", "events-lost", self._now())
            for event in missed:
                yield event
            while True:
                yield await listener.next()
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self._waiting: Final[deque[Event]] = deque()
        self._some: Final = asyncio.Event()
        self._slow = False

    def hear(self, event: Event) -> None:
        if len(self._waiting) >= MOST_BEHIND:
            self._slow = True
        else:
            self._waiting.append(event)
        self._some.set()

    async def next(self) -> Event:
        await self._some.wait()
        if self._slow:
            raise SlowListenerError(f"more than {MOST_BEHIND} events behind")
        event = self._waiting.popleft()
        if not self._waiting:
            self._some.clear()
        return event
