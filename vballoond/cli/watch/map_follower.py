"""Reads a balloon's frame map and follows its changes, in as many cells as the terminal has.

Rules of this file:

* Reading and following happen in threads; what comes of them comes back through the inbox, under a source that names
  the attempt. Whatever a former attempt still says is not listened to.
* A map that is another one (``reset``), or is to have other cells, is read again. One reading is waited for before the
  next is asked for: a daemon that answers slower than the screen is drawn would never be heard otherwise.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from ..client import Client, ClientError, balloon_path, json_object
from ..event_stream import EventStream
from ..inbox import Failed, Inbox, Message
from ..server_sent_events import Event
from .frame_cells import FrameCells, read_frame_cells, scale_for

_RETRY_S: Final = 5.0


class MapFollower:
    """The map of one balloon.

    Attributes:
        shown: The map, or a sentence that says why there is none.
    """

    def __init__(self, client: Client, name: str, inbox: Inbox, now_s: Callable[[], float]) -> None:
        self.shown: FrameCells | str = "reading"
        self._client: Final = client
        self._name: Final = name
        self._inbox: Final = inbox
        self._now_s: Final = now_s
        self._capacity = 0
        self._attempt = 0
        self._reading = False
        self._read_again_at_s: float | None = 0.0
        self._frames = 0
        self._stream: EventStream | None = None

    def fit(self, capacity: int, frames: int) -> None:
        """Have the map in ``capacity`` cells; the guest is believed to have so many ``frames``."""
        if capacity == 0:
            return
        self._capacity, self._frames = capacity, frames
        if self._reading:
            return
        known = self.shown
        due = self._read_again_at_s is not None and self._now_s() >= self._read_again_at_s
        if due or (isinstance(known, FrameCells) and scale_for(known.frames, capacity) != known.scale):
            self.read()

    def read(self) -> None:
        """Read it, and then follow it."""
        if self._capacity == 0:
            return
        self.close()
        self._attempt += 1
        self._reading = True
        self._read_again_at_s = None
        question = partial(read_frame_cells, self._client, self._name, self._frames, self._capacity)
        self._inbox.ask(self._source, question)

    def take(self, message: Message[object] | Failed) -> bool:
        """Take in what is for it; return whether it was."""
        if not message.source.startswith("map-"):
            return False
        if message.source == self._source:
            match message:
                case Failed(_, error):
                    self._reading = False
                    self._fail(error)
                case Message(_, FrameCells() as cells):
                    self._reading = False
                    self._follow(cells)
                case Message(_, Event() as event):
                    self._change(event)
        return True

    def close(self) -> None:
        """Follow it no more."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def _source(self) -> str:
        return f"map-{self._attempt}"

    def _follow(self, cells: FrameCells) -> None:
        self.shown = cells
        path = balloon_path(self._name, f"/frames/changes?scale={cells.scale}&since={cells.version}")
        self._stream = EventStream(partial(self._client.stream, path))
        self._inbox.follow(self._source, self._stream.reports())

    def _change(self, event: Event) -> None:
        data = json_object(event.data)
        if data is None or isinstance(self.shown, str):
            return
        match event.kind:
            case "changes":
                try:
                    self.shown.change(data)
                except (KeyError, TypeError, ValueError):
                    self.read()
            case "migrations":
                total = data.get("total")
                self.shown.migrated = total if isinstance(total, int) else self.shown.migrated
            case "reset":
                self.read()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, ClientError):
            raise error
        self.shown = f"no map: {error}"
        self._read_again_at_s = self._now_s() + _RETRY_S
