"""Where threads put what happens, and one loop takes it out.

Rules of this file:

* A full inbox makes its threads wait, so nothing grows; the daemon cuts a reader off that is too slow for it.
* The threads end with the process: none of them has anything to lose.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

_MOST: Final = 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """A source ended with an error; nothing more comes of it."""

    source: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Message(Generic[T]):
    """What a source said."""

    source: str
    content: T


class Inbox:
    """Messages in the order in which they came."""

    def __init__(self) -> None:
        self._messages: Final[queue.Queue[Message[object] | Failed]] = queue.Queue(_MOST)

    def put(self, message: "Message[object] | Failed") -> None:
        """Put one in."""
        self._messages.put(message)

    def follow(self, source: str, contents: Iterable[object]) -> None:
        """Have a thread put in whatever comes out of ``contents``, to its end."""
        threading.Thread(target=self._carry, args=(source, contents), name=source, daemon=True).start()

    def ask(self, source: str, question: Callable[[], object]) -> None:
        """Have a thread put in what ``question`` returns."""
        self.follow(source, (question() for _ in range(1)))

    def take(self, timeout_s: float) -> "Message[object] | Failed | None":
        """Return the next message; None if there is none for so long."""
        try:
            return self._messages.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _carry(self, source: str, contents: Iterable[object]) -> None:
        try:
            for content in contents:
                self.put(Message(source, content))
        except Exception as error:  # noqa: BLE001 (whoever takes it out raises it)
            self.put(Failed(source, error))
