"""Pages of the balloon that the guest moves: which inflate and which deflate belong together.

Rules of this file:

* A migration is seen, not told: no request says what it is. Linux's virtballoon_migratepage() sends an inflate request
  that names the new page and nothing else, waits, and sends a deflate request that names the old page and nothing else.
  It does not write ``actual``, which has not changed.
* So two requests are a migration where the first inflates one page, the second deflates another of the same size, and
  between them the driver sent neither an inflate nor a deflate request, wrote nothing to its configuration space, and
  stopped neither queue. A driver that fills or leaks a page writes ``actual`` before it does anything else.
* All frames of both count: the new ones were not held, the old ones were. A page is 1 to 16 frames in a row, as many as
  4 KiB go into the guest's page (16 of 64 KiB).
* Where a write of ``actual`` arrives late, behind the requests that the driver made after it, a balloon that grows by a
  page and shrinks by another is taken for one whose page moved. Frames and counts are right all the same.
* The newest :data:`REMEMBERED` pairs are kept; how many there were is counted.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from protocol.balloon.page_frames import PAGE_FRAME

REMEMBERED: Final = 1024
_MAX_PAGE_FRAMES: Final = 16


@dataclass(frozen=True, slots=True)
class Migration:
    """A frame of the balloon that became another one, in the map's ``version``."""

    from_pfn: int
    to_pfn: int
    version: int


class Migrations:
    """Finds migrations in what the two queues bring, in the order in which it comes."""

    def __init__(self) -> None:
        self.newest: Final[deque[Migration]] = deque(maxlen=REMEMBERED)
        self._new: list[int] = []

    def inflated(self, data: bytes, new: int) -> None:
        """The driver inflated what the request ``data`` names, of which ``new`` frames were not held before."""
        self._new = _page(data, new)

    def deflated(self, data: bytes, gone: int, version: int) -> int:
        """The driver deflated what ``data`` names, of which ``gone`` frames were held; the map is at ``version`` now.

        Returns:
            How many frames have moved with it; 0 where it is no migration.
        """
        new, self._new = self._new, []
        if not new:
            return 0
        old = _page(data, gone)
        if len(old) != len(new) or old == new:
            return 0
        self.newest.extend(Migration(before, after, version) for before, after in zip(old, new, strict=True))
        return len(old)

    def forget_inflated(self) -> None:
        """What comes next belongs to nothing before: the driver wrote its configuration, or a queue stopped."""
        self._new = []

    def clear(self) -> None:
        """Another memory or another driver: frames named before mean nothing any more."""
        self._new = []
        self.newest.clear()

    def since(self, version: int) -> list[Migration]:
        """Return those of the newest that came after ``version``, the oldest first."""
        return [migration for migration in self.newest if migration.version > version]


def _page(data: bytes, changed: int) -> list[int]:
    """Return the frames of a request for one page, all of which ``changed``; none where it is another request."""
    if not 0 < len(data) <= _MAX_PAGE_FRAMES * PAGE_FRAME.size or len(data) != changed * PAGE_FRAME.size:
        return []
    pfns: list[int] = PAGE_FRAME.array(data)["pfn"].tolist()
    in_a_row = changed & (changed - 1) == 0 and pfns == list(range(pfns[0], pfns[0] + changed))
    return pfns if in_a_row and pfns[0] % changed == 0 else []
