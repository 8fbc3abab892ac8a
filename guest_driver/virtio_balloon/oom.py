"""Giving pages back before a process is killed for want of them: DEFLATE_ON_OOM.

Rules of this file:

* Up to 256 pages at a time go back, whoever asks, and ``actual`` is written. The target stays: the size work takes them
  again only when the device says something next.
* The notifier is called by whoever wants memory, so it sleeps in that thread, for as long as the host takes to answer.
"""

from collections.abc import Generator
from typing import Final

from protocol.balloon.features import BalloonFeature

from ..kernel import Thread, WaitQueue, wait_event
from .sizing import Sizing
from .state import BalloonState

OOM_NR_PAGES: Final = 256
"""VIRTIO_BALLOON_OOM_NR_PAGES."""


class OomNotifier:
    """The balloon's entry among those who are asked when memory has run out.

    Args:
        vb: The driver.
        sizing: What gives pages back.
    """

    def __init__(self, vb: BalloonState, sizing: Sizing) -> None:
        self._vb: Final = vb
        self._sizing: Final = sizing
        self._idle: Final = WaitQueue()
        self._running = 0

    def register(self) -> None:
        """Be asked from now on, where that was negotiated."""
        if self._vb.features & BalloonFeature.DEFLATE_ON_OOM:
            self._vb.mm.oom_notifiers.append(self._notify)

    def unregister(self) -> None:
        """Be asked no more."""
        if self._notify in self._vb.mm.oom_notifiers:
            self._vb.mm.oom_notifiers.remove(self._notify)

    def quiesce(self) -> Thread:
        """Sleep until whoever has asked was answered: Linux's chain of notifiers has a semaphore for it."""
        yield from wait_event(self._idle, lambda: not self._running)

    def _notify(self) -> Generator[WaitQueue | float, None, int]:
        self._running += 1
        freed = yield from self._sizing.leak_balloon(OOM_NR_PAGES)
        self._sizing.update_balloon_size()
        self._running -= 1
        self._vb.mm.kernel.wake(self._idle)
        return freed
