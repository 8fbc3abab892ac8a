"""Free page hinting: lending the host all free memory while it copies the guest.

Rules of this file (virtio 1.4 section 5.5.6.5):

* The device's command ID is read when a configuration interrupt has latched that it may be new, and kept otherwise.
* A round begins with the ID that was received, as a 4-byte buffer, lists blocks of 4 MiB as buffers that the device may
  write, and ends with STOP: when a new ID has come, or when no block is free above the lowest watermark. An ID is used
  for one round.
* Blocks are allocated, without reclaiming anything for them, and stay the balloon's until the device says DONE, memory
  is short (the shrinker), or the driver goes. The host knows of that risk: it may use a hint only until the guest
  writes.
* Nobody waits for these buffers: used ones are taken back when the next are added. While the ring has no room for a
  block and the STOP behind it, Linux allocates and frees a block over and over; here it looks again after a moment.
"""

import errno
from collections.abc import Generator
from typing import Final

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from ..kernel import Thread, WaitQueue, Work
from ..mm.alloc import take_above
from ..mm.page_flags import Migratetype
from ..mm.zone import ORDERS, ZoneCount
from .poison import Poison
from .queues import Queues
from .state import BalloonState, ProbeError

CMD_ID_STOP: Final = 0
CMD_ID_DONE: Final = 1

HINT_BLOCK_ORDER: Final = ORDERS - 1
HINT_BLOCK_PAGES: Final = 1 << HINT_BLOCK_ORDER

RING_FULL_POLL_S: Final = 0.001
"""How soon a round looks again whether the device has used a buffer."""

_U32: Final = 4
_MIN_RING: Final = 2
_CMD_ID_OFFSET: Final = BALLOON_CONFIG.offset_of("free_page_hint_cmd_id")


class Hinting:
    """The free_page_vq, and the blocks that were listed on it.

    Also a shrinker (:class:`guest_driver.mm.mem_map.Shrinker`).

    Args:
        vb: The driver.
        queues: Its queues.
        poison: What blocks are filled with that come back.
    """

    def __init__(self, vb: BalloonState, queues: Queues, poison: Poison) -> None:
        self.work: Final = Work(self._report_free_page_func)
        self._vb: Final = vb
        self._queues: Final = queues
        self._poison: Final = poison
        self._active_buffer: Final = queues.alloc_buffer(_U32)
        self._stop_buffer: Final = queues.alloc_buffer(_U32)
        self._free_page_list: Final[list[int]] = []
        self._config_read_cmd_id = False
        self._cmd_id_received = CMD_ID_STOP
        self._cmd_id_active = CMD_ID_STOP

    @property
    def blocks(self) -> int:
        """How many blocks are lent."""
        return len(self._free_page_list)

    @property
    def negotiated(self) -> bool:
        """Whether there is a free_page_vq."""
        return bool(self._vb.features & BalloonFeature.FREE_PAGE_HINT)

    def register(self) -> None:
        """Have memory that is short taken from the blocks, where hinting was negotiated.

        Raises:
            ProbeError: The ring has not room for a block and the STOP behind it.
        """
        if not self.negotiated:
            return
        if self._queues.num_free(QueueRole.FREE_PAGE) < _MIN_RING:
            raise ProbeError(errno.ENOSPC, f"a free_page_vq of less than {_MIN_RING} entries")
        self._vb.mm.shrinkers.append(self)

    def unregister(self) -> None:
        """Be asked for memory no more."""
        if self in self._vb.mm.shrinkers:
            self._vb.mm.shrinkers.remove(self)

    def config_changed(self) -> None:
        """The device's configuration may hold a new command ID."""
        if self.negotiated and not self._config_read_cmd_id:
            self._config_read_cmd_id = True
            self.resume()

    def resume(self) -> None:
        """Look at a command ID that was latched; what was frozen before it did goes on with this."""
        if self._config_read_cmd_id:
            self._vb.mm.kernel.queue_work(self.work)

    def return_free_pages_to_mm(self, blocks: int | None = None) -> int:
        """Free so many blocks, the last lent first, or all; return how many that were."""
        freed = len(self._free_page_list) if blocks is None else min(blocks, len(self._free_page_list))
        for _ in range(freed):
            page = self._free_page_list.pop()
            self._poison.fill(page, HINT_BLOCK_ORDER)
            self._vb.mm.free_pages(page, HINT_BLOCK_ORDER)
        return freed

    def count(self) -> int:
        """Return how many pages the shrinker could give."""
        return self.blocks * HINT_BLOCK_PAGES

    def scan(self, pages: int) -> Generator[WaitQueue | float, None, int]:
        """Give pages for the shrinker, in whole blocks; return how many."""
        return self.return_free_pages_to_mm(-(-pages // HINT_BLOCK_PAGES)) * HINT_BLOCK_PAGES
        yield  # a thread, though it never sleeps

    def _report_free_page_func(self) -> Thread:
        received = self._received()
        if received == CMD_ID_DONE:
            self.return_free_pages_to_mm()
        elif received not in (CMD_ID_STOP, self._cmd_id_active):
            self._cmd_id_active = received
            self._send_id(self._active_buffer, received)
            yield from self._send_free_pages()
            self._send_id(self._stop_buffer, CMD_ID_STOP)

    def _received(self) -> int:
        if self._config_read_cmd_id:
            self._config_read_cmd_id = False
            self._cmd_id_received = int.from_bytes(self._vb.device.read_config(_CMD_ID_OFFSET, _U32), "little")
        return self._cmd_id_received

    def _send_id(self, buffer: int, cmd_id: int) -> None:
        """Send a command ID; where the ring has no room for it, it is lost, and the round goes on as in Linux."""
        self._queues.reap(QueueRole.FREE_PAGE)
        if not self._queues.num_free(QueueRole.FREE_PAGE):
            self._vb.mm.warn(f"{QueueRole.FREE_PAGE.value} has no room for command ID {cmd_id}")
            return
        self._vb.ram.write(buffer, cmd_id.to_bytes(_U32, "little"))
        self._queues.send(QueueRole.FREE_PAGE, readable=((buffer, _U32),))

    def _send_free_pages(self) -> Thread:
        while self._received() == self._cmd_id_active:
            self._queues.reap(QueueRole.FREE_PAGE)
            if self._queues.num_free(QueueRole.FREE_PAGE) <= 1:
                yield RING_FULL_POLL_S
                continue
            page = self._alloc_block()
            if page is None:
                return
            self._free_page_list.append(page)
            piece = (page * FRAME_BYTES, HINT_BLOCK_PAGES * FRAME_BYTES)
            self._queues.send(QueueRole.FREE_PAGE, writable=(piece,))

    def _alloc_block(self) -> int | None:
        zone = self._vb.mm.zone
        mark = int(zone.counts[ZoneCount.WMARK_MIN])
        page = int(take_above(zone, HINT_BLOCK_ORDER, int(Migratetype.UNMOVABLE), mark))
        return None if page < 0 else page
