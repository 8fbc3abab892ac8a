"""The loop of ``watch``: whatever happens goes into the world, and the world onto the screen.

Rules of this file:

* Only this loop changes the world. Threads read, and say what they read through the inbox.
* The screen is drawn at most :data:`FRAMES_PER_S` times a second, however much happens.
* A daemon that goes away is said to have, and what was seen last stays until it answers again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rich.text import Text

from ..balloon_event import balloon_event
from ..client import Client, ClientError, RefusedError, balloon_path, events_path
from ..event_stream import Connected, EventStream, Lost
from ..inbox import Failed, Inbox, Message
from ..server_sent_events import Event
from .details import detail_lines, map_room
from .map_follower import MapFollower
from .overview import overview_lines
from .world import World

FRAMES_PER_S: Final = 8
_SAMPLE_EVERY_S: Final = 1.0
_FRAME_BYTES: Final = 4096
_NOT_FOUND: Final = 404

Size = Callable[[], tuple[int, int]]


class WatchSession:
    """Watches all balloons, or one.

    Args:
        client: Asks the daemon.
        name: The balloon; None for all.
        size: How many columns and lines there are.
        colour: Whether there are colours.
        show: Puts lines onto the screen.
        now_s: The monotonic clock.
    """

    def __init__(
        self,
        client: Client,
        name: str | None,
        size: Size,
        show: Callable[[list[Text]], None],
        now_s: Callable[[], float],
        *,
        colour: bool,
        inbox: Inbox | None = None,
    ) -> None:
        self.world: Final = World(client.api, now_s)
        self._client: Final = client
        self._name: Final = name
        self._size: Final = size
        self._show: Final = show
        self._now_s: Final = now_s
        self._colour: Final = colour
        self.inbox: Final = inbox or Inbox()
        self._map: Final = None if name is None else MapFollower(client, name, self.inbox, now_s)
        self._stream: Final = EventStream(partial(client.stream, events_path(name)))
        self._reading = False
        self._stale = False
        self._draw_at_s = 0.0
        self._sample_at_s = 0.0

    def begin(self) -> None:
        """Read everything once.

        Raises:
            ClientError: The daemon does not answer, or has no such balloon.
        """
        self._take_reading(self._read())

    def once(self) -> None:
        """Draw one screen of what is so now, map included."""
        self.begin()
        self.world.sample()
        width, height = self._size()
        if self._map is not None:
            self._map.fit(map_room(width, height, colour=self._colour)[1], self._frames())
            if (message := self.inbox.take(self._client.timeout_s)) is not None:
                self._map.take(message)
        self._show(self._lines())
        self.close()

    def run(self) -> None:
        """Go on behind :meth:`begin` until q is pressed.

        Raises:
            ClientError: The daemon refuses to tell.
        """
        self.inbox.follow("events", self._stream.reports())
        try:
            while self._step():
                pass
        finally:
            self.close()

    def close(self) -> None:
        """Ask for nothing more."""
        self._stream.close()
        if self._map is not None:
            self._map.close()

    def _step(self) -> bool:
        """Take in what happens next and draw when it is time; return whether to go on."""
        self._draw_if_due()
        message = self.inbox.take(max(self._draw_at_s - self._now_s(), 0.0))
        if message is None:
            return True
        if message == Message("keys", "q"):
            return False
        if self._map is None or not self._map.take(message):
            self._take(message)
        return True

    def _take(self, message: Message[object] | Failed) -> None:
        match message:
            case Message("events", Connected()):
                self.world.lost = None
                self._read_again()
            case Message("events", Lost(reason)):
                self.world.lost = reason
            case Message("events", Event() as event):
                told = balloon_event(event)
                if told is not None and self.world.take(told):
                    self._read_again()
            case Message("reading", content):
                self._reading = False
                self._take_reading(content)
            case Failed("reading", ClientError() as error):
                self._reading = False  # where nobody answers, the stream of events breaks as well, and says so
                if isinstance(error, RefusedError) and error.status == _NOT_FOUND:
                    self.world.read([])
            case Failed(_, error):
                raise error
        if self._stale and not self._reading:
            self._read_again()

    def _read_again(self) -> None:
        """Have everything read in a thread; once more where that is under way, for it may have been too early."""
        self._stale = self._reading
        if not self._reading:
            self._reading = True
            self.inbox.ask("reading", self._read)

    def _read(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        if self._name is None:
            return self._client.get("/v1/balloons").json("balloons")["balloons"], None
        balloon = self._client.get(balloon_path(self._name)).json("resize")
        try:
            return [balloon], self._client.get(balloon_path(self._name, "/statistics")).json("statistics")
        except RefusedError:
            return [balloon], None

    def _take_reading(self, content: Any) -> None:
        balloons, statistics = content
        self.world.read(balloons)
        if self._name is not None and statistics is not None:
            self.world.heard(self._name, statistics)

    def _draw_if_due(self) -> None:
        now_s = self._now_s()
        if now_s < self._draw_at_s:
            return
        self._draw_at_s = now_s + 1 / FRAMES_PER_S
        if now_s >= self._sample_at_s:
            self._sample_at_s = now_s + _SAMPLE_EVERY_S
            self.world.sample()
        if self._map is not None:
            width, height = self._size()
            self._map.fit(map_room(width, height, colour=self._colour)[1], self._frames())
        self._show(self._lines())

    def _frames(self) -> int:
        balloon = self.world.balloons.get(self._name or "")
        return 0 if balloon is None else (balloon["memory_bytes"] or 0) // _FRAME_BYTES

    def _lines(self) -> list[Text]:
        width, height = self._size()
        if self._map is None or self._name is None:
            return overview_lines(self.world, width, height)
        return detail_lines(self.world, self._name, self._map.shown, width, height, colour=self._colour)
