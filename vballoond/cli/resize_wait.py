"""Waiting for a resize while its events are shown.

Rules of this file:

* The outcome is the answer to the request that began the resize, and nothing else.
* Events are for the eye: without them there is nothing to see, and the outcome is the same.
"""

from collections.abc import Callable
from typing import Final

from .balloon_event import balloon_event
from .client import Answer
from .event_stream import EventStream
from .inbox import Failed, Inbox, Message
from .resize_display import Display
from .resize_progress import ResizeProgress
from .server_sent_events import Event

_EVENTS: Final = "events"
_OUTCOME: Final = "outcome"
_TICK_S: Final = 0.25
_HEAD_START_S: Final = 2.0


class ResizeWait:
    """One request that begins a resize, and what is seen until it is answered.

    Attributes:
        progress: How far the resize is, as far as events told.
    """

    def __init__(self, progress: ResizeProgress, display: Display, inbox: Inbox | None = None) -> None:
        self.progress = progress
        self._display: Final = display
        self._inbox: Final = inbox or Inbox()

    def run(self, stream: EventStream, request: Callable[[], Answer]) -> Answer:
        """Follow the events, send the request, show what happens, and return the answer.

        Raises:
            ClientError: The request failed.
        """
        self._inbox.follow(_EVENTS, stream.reports())
        self._inbox.take(_HEAD_START_S)  # connected, or not to be had: either way its begin is not missed
        self._inbox.ask(_OUTCOME, request)
        try:
            return self._until_answered()
        finally:
            stream.close()

    def _until_answered(self) -> Answer:
        while True:
            match self._inbox.take(_TICK_S):
                case Message(_, Answer() as answer):
                    return answer
                case Message(_, Event() as event):
                    self._take(event)
                case Failed(source, error) if source == _OUTCOME:
                    raise error
            self._display.show(self.progress)

    def _take(self, event: Event) -> None:
        told = balloon_event(event)
        if told is not None:
            self.progress = self.progress.take(told)
