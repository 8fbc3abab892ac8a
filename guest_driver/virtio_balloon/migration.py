"""Moving a page of the balloon: virtballoon_migratepage().

Rules of this file:

* Who migrates holds page locks, which are taken behind balloon_lock: so balloon_lock is only tried here, and -EAGAIN
  says that it is worth another try later.
* The host is told of the new page first, and waited for, then of the old one: two requests of one frame each. The
  balloon never looks smaller than it is; its size and ``actual`` do not change.
* The thread sleeps with page locks held, so a slow host stalls compaction too, while it moves pages of the balloon.
"""

import errno
from typing import Final

from protocol.balloon.queues import QueueRole

from ..balloon_compaction import BalloonPages
from ..mm.movable import MigrateMode, MigrateResult
from .state import BalloonState
from .tell_host import BalloonLock, Host


class Migration:
    """What compaction calls back for a page of the balloon.

    Args:
        vb: The driver.
        lock: Its balloon_lock.
        host: Whom it tells.
    """

    def __init__(self, vb: BalloonState, lock: BalloonLock, host: Host) -> None:
        self._vb: Final = vb
        self._lock: Final = lock
        self._host: Final = host
        self._pages: BalloonPages | None = None

    def bind(self, pages: BalloonPages) -> None:
        """Say what the balloon holds; it in turn was made with :meth:`migratepage`."""
        self._pages = pages

    def migratepage(self, newpage: int, page: int, mode: MigrateMode) -> MigrateResult:
        """Have ``newpage`` stand for ``page``, which is isolated.

        Returns:
            What the interface's generation calls a success; -EAGAIN where balloon_lock is taken, and -EINVAL where the
            mode is not one that a balloon knows: then nothing has changed.
        """
        assert self._pages is not None
        if mode is MigrateMode.SYNC_NO_COPY and self._vb.options.interface == "2022":
            return -errno.EINVAL
        if not self._lock.trylock():
            return -errno.EAGAIN
        self._pages.migrated(newpage, page)
        yield from self._host.tell(QueueRole.INFLATE, [newpage])
        early = self._pages.alloc_under_lock  # 2012: the old page leaves the balloon before the host knows
        if early:
            self._pages.finish_migration(page)
        yield from self._host.tell(QueueRole.DEFLATE, [page])
        self._lock.unlock()
        if not early:
            self._pages.finish_migration(page)
        return self._pages.migrate_success
