"""Pages that their owner moves: the table of operations by which migration reaches them.

The review of the balloon compaction interface asked for such a table ("some sort of migration_operations callback");
Linux has had one since 4.8 in one shape or another. Here every generation of the interface stands behind it.
"""

from collections.abc import Generator
from enum import IntEnum
from typing import Final, Protocol, TypeAlias, runtime_checkable

from ..kernel import Thread, WaitQueue

MigrateResult: TypeAlias = Generator[WaitQueue | float, None, int]
"""A thread that returns 0, a positive result of its generation's, or a negative errno."""

MIGRATEPAGE_SUCCESS: Final = 0
MIGRATEPAGE_BALLOON_SUCCESS: Final = 1
"""2012: moved, and the new page is the balloon's with the reference that it was allocated with."""


class MigrateMode(IntEnum):
    """How much a migration may wait."""

    ASYNC = 0
    SYNC_LIGHT = 1
    SYNC = 2
    SYNC_NO_COPY = 3


@runtime_checkable
class MovableOperations(Protocol):
    """How pages of a mapping are moved. ``page`` is a frame number."""

    def movable(self, page: int) -> bool:
        """Say, without a lock, whether a page is worth a try; it may have changed its mind by the next line."""

    def isolate(self, page: int) -> bool:
        """Take a page from its owner and take a reference; False, and nothing changed, where that cannot be."""

    def putback(self, page: int) -> Thread:
        """Give an isolated page back to its owner and let go of the reference."""

    def migrate(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have ``newpage`` stand for ``page``, which the caller has locked.

        Returns:
            0: moved; the owner took a reference to ``newpage`` and let go of its own to ``page``, and the caller lets
            go of those that it has. ``MIGRATEPAGE_BALLOON_SUCCESS``: moved; the caller lets go of both references to
            ``page`` and of none to ``newpage``. Negative: not moved, ``page`` is isolated still.
        """
