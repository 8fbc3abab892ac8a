"""Following the target: fill_balloon(), leak_balloon() and the work that calls them.

Rules of this file:

* A request lists at most 256 frames, and ``actual`` is written after each, not only at the end.
* Pages are allocated outside balloon_lock, so that an allocation which ends in the out-of-memory notifier does not wait
  for itself, and are enqueued under it in the reverse order of their allocation. In 2012 they were allocated under it.
* When the guest has no page to spare, the driver sleeps for 200 ms and tries again for as long as the target stands.
* Dequeued pages are the guest's again only when the host has answered. They are released under balloon_lock; in 2012
  after it.
* MemTotal falls with each page, unless the balloon deflates when memory runs out.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Final

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole

from ..balloon_compaction import BalloonPages
from ..kernel import COND_RESCHED, Thread, WaitQueue, Work
from .poison import Poison
from .state import ARRAY_PFNS_MAX, BalloonState
from .tell_host import BalloonLock, Host

OUT_OF_PUFF_SLEEP_S: Final = 0.2
"""fill_balloon() sleeps this long when an allocation fails, to leave the guest in peace."""

RETRY_S: Final = 0.001
"""Where every page is isolated Linux tries again at once, while its other threads run. Here they run in that time."""

_RESCHED_PAGES: Final = 64  # as cond_resched(): handled by the model, a page takes microseconds

_U32: Final = 4


class Sizing:
    """The balloon's size.

    Args:
        vb: The driver; ``num_pages`` is changed here only.
        lock: Its balloon_lock.
        host: Whom it tells.
        pages: What the balloon holds.
        poison: What pages are filled with that come back.
    """

    def __init__(self, vb: BalloonState, lock: BalloonLock, host: Host, pages: BalloonPages, poison: Poison) -> None:
        self.work: Final = Work(self._update_balloon_size_func)
        self._vb: Final = vb
        self._lock: Final = lock
        self._host: Final = host
        self._pages: Final = pages
        self._poison: Final = poison

    def towards_target(self) -> int:
        """Return by how many pages the balloon is too small; negative where it is too large."""
        config = BALLOON_CONFIG.unpack(self._vb.device.read_config(0, BALLOON_CONFIG.size))
        return config.num_pages - self._vb.num_pages

    def update_balloon_size(self) -> None:
        """Write ``actual``."""
        data = self._vb.num_pages.to_bytes(_U32, "little")
        self._vb.device.write_config(BALLOON_CONFIG.offset_of("actual"), data)

    def leak_balloon(self, wanted: int) -> Generator[WaitQueue | float, None, int]:
        """Give up to 256 pages back to the guest; return how many, which is 0 where all are isolated."""
        yield from self._lock.lock()
        taken = yield from self._dequeue(min(wanted, ARRAY_PFNS_MAX, self._vb.num_pages))
        if taken:
            yield from self._host.tell(QueueRole.DEFLATE, taken)
        if self._pages.alloc_under_lock:
            self._lock.unlock()
            yield from self._release(taken)
        else:
            yield from self._release(taken[::-1])
            self._lock.unlock()
        return len(taken)

    def leak_all(self) -> Thread:
        """Give every page back to the guest."""
        while self._vb.num_pages:
            if not (yield from self.leak_balloon(self._vb.num_pages)):
                yield RETRY_S

    def _update_balloon_size_func(self) -> Thread:
        diff = self.towards_target()
        if not diff:
            return
        if diff > 0:
            done = yield from self._fill_balloon(diff)
        else:
            done = -(yield from self.leak_balloon(-diff))
            if not done:
                yield RETRY_S
        self.update_balloon_size()
        if done != diff and not self._vb.stop_update:
            self._vb.mm.kernel.queue_work(self.work)

    def _fill_balloon(self, wanted: int) -> Generator[WaitQueue | float, None, int]:
        wanted = min(wanted, ARRAY_PFNS_MAX)
        if self._pages.alloc_under_lock:
            yield from self._lock.lock()
            filled = yield from self._alloc(wanted)
        else:
            filled = yield from self._alloc(wanted)
            filled.reverse()
            yield from self._lock.lock()
            yield from self._enqueue(filled)
        if filled:
            yield from self._host.tell(QueueRole.INFLATE, filled)
        self._lock.unlock()
        return len(filled)

    def _alloc(self, wanted: int) -> Generator[WaitQueue | float, None, list[int]]:
        """Allocate pages; 2012: they are in the balloon then."""
        allocated: list[int] = []
        while len(allocated) < wanted:
            page = self._pages.alloc()
            if page is None:
                yield OUT_OF_PUFF_SLEEP_S
                break
            allocated.append(page)
            if self._pages.alloc_under_lock:
                self._account(1)
            if len(allocated) % _RESCHED_PAGES == 0:
                yield COND_RESCHED
        return allocated

    def _enqueue(self, pages: Sequence[int]) -> Thread:
        for part in _parts(pages):
            for page in part:
                self._pages.enqueue(page)
            self._account(len(part))
            yield COND_RESCHED

    def _dequeue(self, wanted: int) -> Generator[WaitQueue | float, None, list[int]]:
        taken: list[int] = []
        while len(taken) < wanted:
            page = self._pages.dequeue()
            if page is None:
                break
            taken.append(page)
            self._vb.num_pages -= 1
            if len(taken) % _RESCHED_PAGES == 0:
                yield COND_RESCHED
        return taken

    def _release(self, pages: Sequence[int]) -> Thread:
        for part in _parts(pages):
            self._adjust_managed(len(part))
            self._poison.fill_each(part)
            for page in part:
                self._pages.release(page)
            yield COND_RESCHED

    def _account(self, filled: int) -> None:
        self._vb.num_pages += filled
        self._adjust_managed(-filled)

    def _adjust_managed(self, pages: int) -> None:
        if not self._vb.features & BalloonFeature.DEFLATE_ON_OOM:
            self._vb.mm.adjust_managed_page_count(pages)


def _parts(pages: Sequence[int]) -> Iterator[Sequence[int]]:
    return (pages[at : at + _RESCHED_PAGES] for at in range(0, len(pages), _RESCHED_PAGES))
