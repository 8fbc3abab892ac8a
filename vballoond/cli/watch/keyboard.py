"""Single keys, as they are pressed, while the terminal is set so."""

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

_LOOK_S: Final = 0.2


class Keyboard:
    """Reads keys without Enter and without showing them. Ctrl-C stays what it is. Without a terminal there are none."""

    def __init__(self) -> None:
        self._descriptor: Final = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: Any = None
        self._ended: Final = threading.Event()

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._descriptor is not None and self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def keys(self) -> Iterator[str]:
        """Return what is pressed, until the terminal is as it was, or gone."""
        while self._descriptor is not None and not self._ended.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], _LOOK_S)
            if ready:
                pressed = os.read(self._descriptor, 1)
                if not pressed:
                    return
                yield pressed.decode("latin-1")
