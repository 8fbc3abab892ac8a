"""What a balloon driver needs of the interface, whatever its generation."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from ..mm.movable import MigrateMode, MigrateResult

MigratePage: TypeAlias = Callable[[int, int, MigrateMode], MigrateResult]
"""The driver's callback: newpage, page, mode."""


class BalloonPages(Protocol):
    """The pages that a balloon holds, and the ways into it and out of it."""

    @property
    def alloc_under_lock(self) -> bool:
        """Say when to allocate.

        2012: under balloon_lock, and the host is told of pages in that order. Later: before it; pages are enqueued in
        the reverse order under it.
        """

    @property
    def migrate_success(self) -> int:
        """What the driver's callback returns when it has moved a page."""

    @property
    def isolated_pages(self) -> int:
        """Pages that compaction has taken and will migrate or put back."""

    def __len__(self) -> int:
        """Return how many pages are on the list; isolated ones are not."""

    def alloc(self) -> int | None:
        """Return a page for the balloon, None where none is to be had. 2012: it is in the balloon at once."""

    def enqueue(self, page: int) -> None:
        """Put an allocated page into the balloon. 2012: it is there."""

    def dequeue(self) -> int | None:
        """Take a page out of the balloon; None while all are isolated or locked.

        Raises:
            KernelBugError: The balloon has none at all.
        """

    def release(self, page: int) -> None:
        """Have a dequeued page be the guest's again, after the host's answer."""

    def migrated(self, newpage: int, page: int) -> None:
        """Have ``newpage`` be in the balloon instead of ``page``, before the host is told. 2026: the core does it."""

    def finish_migration(self, page: int) -> None:
        """Let go of the old page. 2012: before its deflation is told; 2022: at the end; 2026: the core does it."""

    def close(self) -> None:
        """Free what the interface has for this balloon; any further use raises.

        Raises:
            KernelBugError: There are pages in the balloon.
        """
