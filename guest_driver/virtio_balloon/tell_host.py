"""Requests that the driver waits for: tell_host(), and balloon_lock, which they are sent under.

Rules of this file:

* There is one array of frame numbers for all requests, so whoever writes it holds balloon_lock until the host has
  answered, and whoever wants the lock waits as long. Nothing else waits: a slow host stalls sizing and migration only.
* The driver waits for each buffer before it goes on, MUST_TELL_HOST or not. All waiters share one wait queue, and each
  looks for its own buffer: an interrupt is no answer yet.
* How much the device says that it wrote is not looked at.
"""

from typing import Final

import numpy as np

from protocol.balloon.page_frames import PAGE_FRAME
from protocol.balloon.queues import QueueRole

from ..kernel import Thread, WaitQueue, wait_event
from ..mm.lockdep import LockClass
from .queues import Queues
from .state import ARRAY_PFNS_MAX, BalloonState


class BalloonLock:
    """balloon_lock, a mutex.

    Args:
        vb: The driver whose requests it serialises.
    """

    def __init__(self, vb: BalloonState) -> None:
        self._kernel: Final = vb.mm.kernel
        self._lockdep: Final = vb.mm.lockdep
        self._unlocked: Final = WaitQueue()
        self._locked = False

    def lock(self) -> Thread:
        """Take it, and sleep while another thread has it.

        Raises:
            LockOrderError: The thread holds a lock that must be taken later.
        """
        yield from wait_event(self._unlocked, lambda: not self._locked)
        self._lockdep.acquired(LockClass.BALLOON_LOCK)
        self._locked = True

    def trylock(self) -> bool:
        """Take it if nobody has it."""
        if self._locked:
            return False
        self._lockdep.acquired(LockClass.BALLOON_LOCK, trylock=True)
        self._locked = True
        return True

    def unlock(self) -> None:
        """Let go of it.

        Raises:
            KernelBugError: The thread does not hold it.
        """
        self._lockdep.released(LockClass.BALLOON_LOCK)
        self._locked = False
        self._kernel.wake(self._unlocked)


class Host:
    """The host, as far as the driver waits for it.

    Args:
        vb: The driver.
        queues: Its queues.
    """

    def __init__(self, vb: BalloonState, queues: Queues) -> None:
        self.acked: Final = WaitQueue()
        """Woken at every interrupt of a queue."""
        self._vb: Final = vb
        self._queues: Final = queues
        self._pfns: Final = queues.alloc_buffer(ARRAY_PFNS_MAX * PAGE_FRAME.size)

    def tell(self, role: QueueRole, pages: list[int]) -> Thread:
        """Send pages on the inflateq or deflateq, and sleep until the host has answered.

        Raises:
            KernelBugError: The thread does not hold balloon_lock.
        """
        self._vb.mm.lockdep.assert_held(LockClass.BALLOON_LOCK)
        data = np.array(pages, dtype=PAGE_FRAME.dtype["pfn"]).tobytes()
        self._vb.ram.write(self._pfns, data)
        self._queues.send(role, readable=((self._pfns, len(data)),))
        yield from self.answer(role)

    def answer(self, role: QueueRole) -> Thread:
        """Sleep until the host has used a buffer of a queue, and take it back."""
        yield from wait_event(self.acked, lambda: self._queues.get_used(role))
