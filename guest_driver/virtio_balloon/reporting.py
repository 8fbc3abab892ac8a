"""Free page reporting: virtballoon_free_page_report(), which mm/page_reporting calls.

Rules of this file (virtio 1.4 section 5.5.6.7):

* One buffer for each call, of as many pieces as there are blocks. The guest has taken the blocks off its free lists,
  and takes them back only when the device has used the buffer.
* A guest that fills its free pages has filled them before it reports them.
"""

import errno
from collections.abc import Generator
from typing import Final

from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..kernel import Thread, WaitQueue
from ..mm.page_reporting import CAPACITY, Block, PageReporting
from .poison import Poison
from .queues import Queues
from .state import BalloonState, ProbeError
from .tell_host import Host


class Reporting:
    """The reporting_vq.

    Args:
        vb: The driver.
        queues: Its queues.
        host: Whom it waits for.
        poison: What reported pages are filled with.
        page_reporting: The guest's, which says what is free.
    """

    def __init__(
        self, vb: BalloonState, queues: Queues, host: Host, poison: Poison, page_reporting: PageReporting
    ) -> None:
        self._vb: Final = vb
        self._queues: Final = queues
        self._host: Final = host
        self._poison: Final = poison
        self._page_reporting: Final = page_reporting

    @property
    def negotiated(self) -> bool:
        """Whether there is a reporting_vq."""
        return bool(self._vb.features & BalloonFeature.PAGE_REPORTING)

    def register(self) -> None:
        """Be told of free blocks from now on, where that was negotiated.

        Raises:
            ProbeError: The ring has not room for a report, or the guest has another device to report to.
        """
        if not self.negotiated:
            return
        if self._queues.num_free(QueueRole.REPORTING) < CAPACITY:
            raise ProbeError(errno.ENOSPC, f"a reporting_vq of less than {CAPACITY} entries")
        if not self._page_reporting.register(self._report):
            raise ProbeError(errno.EBUSY, "free pages are reported to another device")

    def unregister(self) -> Thread:
        """Be told no more, and sleep until a report that is under way was answered."""
        if self.negotiated:
            yield from self._page_reporting.unregister()

    def quiesce(self) -> Thread:
        """Sleep until a report that is under way was answered."""
        if self.negotiated:
            yield from self._page_reporting.quiesce()

    def _report(self, blocks: list[Block]) -> Generator[WaitQueue | float, None, int]:
        if QueueRole.REPORTING not in self._queues:
            return -errno.ENODEV  # frozen: nobody is there to be told
        for block in blocks:
            self._poison.fill(*block)
        pieces = [(block.page * FRAME_BYTES, FRAME_BYTES << block.order) for block in blocks]
        self._queues.send(QueueRole.REPORTING, writable=pieces)
        yield from self._host.answer(QueueRole.REPORTING)
        return 0
