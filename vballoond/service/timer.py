"""Something to be done again and again, by the event loop's clock."""

import asyncio
from collections.abc import Callable
from typing import Final


class Timer:
    """Calls ``due`` every so often once it is set; ``due`` must not wait."""

    def __init__(self, due: Callable[[], None]) -> None:
        self._due: Final = due
        self._handle: asyncio.TimerHandle | None = None

    def set(self, interval_s: float) -> None:
        """Call every ``interval_s`` seconds from now on; 0: no more."""
        self.stop()
        if interval_s:
            self._handle = asyncio.get_running_loop().call_later(interval_s, self._tick, interval_s)

    def stop(self) -> None:
        """Call no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self, interval_s: float) -> None:
        self.set(interval_s)
        self._due()
