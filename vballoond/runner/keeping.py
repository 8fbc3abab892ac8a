"""When what policies know goes where it outlives this process.

Rules of this file:

* Whoever has it for the process after this one has it at once. So has the disk where somebody chose something, or where
  a target was set; where a policy only remembers something else, as in each round, it has it within ``DISK_S``.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from .kept import Chosen, Kept

DISK_S: Final = 60.0

KeepKept = Callable[[Kept], Awaitable[None]]
Remember = Callable[[], Awaitable[None]]


async def kept_nowhere(kept: Kept) -> None:
    """Keep nothing."""
    del kept


async def remembered_nowhere() -> None:
    """Have nothing on disk."""


class Keeping:
    """Has what policies know kept.

    Args:
        kept: What is kept already, or would be found anyway.
        keep: Has it for a process after this one.
        remember: Has all that was set at run time on disk.
        now_s: The time.
    """

    def __init__(self, kept: Kept, keep: KeepKept, remember: Remember, now_s: Callable[[], float]) -> None:
        self._kept = kept
        self._keep: Final = keep
        self._remember: Final = remember
        self._now_s: Final = now_s
        self._on_disk_at_s = now_s()

    async def keep(self, kept: Kept, *, moved: bool) -> None:
        """Have ``kept`` kept as far as it is news; ``moved``: a target was set as well."""
        before, self._kept = self._kept, kept
        if kept == before and not moved:
            return
        if kept != before:
            await self._keep(kept)
        chosen = _without_memory(kept) != _without_memory(before)
        if chosen or moved or self._now_s() - self._on_disk_at_s >= DISK_S:
            await self.remember()

    async def remember(self) -> None:
        """Have it on disk now."""
        self._on_disk_at_s = self._now_s()
        await self._remember()


def _without_memory(kept: Kept) -> tuple[Any, ...]:
    def chosen(one: Chosen | None) -> Any:
        return None if one is None else (one.name, one.settings)

    return kept.configured, chosen(kept.active), chosen(kept.shadow), kept.book, kept.by_hand_until_s
