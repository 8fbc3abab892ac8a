"""In the place of a holder where there is none."""

from collections.abc import Iterable, Mapping
from typing import Final


class NoHolder:
    """Keeps nothing: what is served ends with this process. The interface is that of ``Holder``."""

    alive: Final = False
    capacity: Final = 0
    keeper_pid: Final = None

    def inherited(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    async def store(self, named: Mapping[str, int]) -> None:
        """Keep nothing."""

    def remove(self, names: Iterable[str]) -> None:
        """Have nothing to remove."""

    async def notify(self, **fields: str) -> None:
        """Tell nobody."""

    async def ready(self) -> None:
        """Tell nobody."""

    async def status(self, text: str) -> None:
        """Tell nobody."""

    async def watchdog(self) -> None:
        """Tell nobody."""

    def close(self) -> None:
        """Have nothing to close."""
