"""When what policies know goes where it outlives this process.

Rules of this file:

* Whoever has it for the process after this one has it at once. So has the disk where somebody chose something, or where
  a target was set; where a policy only remembers something else, as in each round, it has it within ``DISK_S``.
"""

import asyncio
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
        known: Returns what is to be kept. What it returns now is kept already, or would be found anyway.
        keep: Has it for a process after this one.
        remember: Has all that was set at run time on disk.
        now_s: The time.
    """

    def __init__(
        self, known: Callable[[], Kept], keep: KeepKept, remember: Remember, now_s: Callable[[], float]
    ) -> None:
        self._known: Final = known
        self._keep: Final = keep
        self._remember: Final = remember
        self._now_s: Final = now_s
        self._kept = self._on_disk = known()
        self._on_disk_at_s = now_s()
        self._one_at_a_time: Final = asyncio.Lock()

    async def keep(self, *, moved: bool = False) -> None:
        """Have kept what is known now, as far as it is news; ``moved``: what else is on disk is news as well.

        Whoever calls this later has later knowledge kept, however many do it at a time.
        """
        async with self._one_at_a_time:
            known = self._known()
            if known != self._kept:
                await self._keep(known)
                self._kept = known
            if moved or self._is_due(known):
                self._on_disk, self._on_disk_at_s = known, self._now_s()
                await self._remember()

    def _is_due(self, known: Kept) -> bool:
        if known == self._on_disk:
            return False
        chosen = _without_memory(known) != _without_memory(self._on_disk)
        return chosen or self._now_s() - self._on_disk_at_s >= DISK_S


def _without_memory(kept: Kept) -> tuple[Any, ...]:
    def chosen(one: Chosen | None) -> Any:
        return None if one is None else (one.name, one.settings)

    return kept.configured, chosen(kept.active), chosen(kept.shadow), kept.book, kept.by_hand_until_s
