"""How a modelled guest sees its own frames: for frame maps, and for policies."""

from guest_driver.guest import Guest
from guest_driver.mm.frame_states import frame_states
from guest_driver.mm.zone import ORDERS, ZoneCount

from ..balloon.frame_pictures import GuestView
from ..memory.frames import FrameRange
from ..service.known_balloon import FreeBlocks


def guest_view_of(guest: Guest) -> GuestView:
    """Return what draws a window of the guest's memory. It may be called while the guest runs, from any thread."""

    def draw(window: FrameRange) -> bytes:
        return frame_states(guest.zone, window.first, window.count).tobytes()

    return draw


def free_blocks_of(guest: Guest) -> FreeBlocks:
    """Return what tells how the guest's free memory lies. It may be called while the guest runs."""

    def free_blocks() -> tuple[int, int]:
        frames = [int(blocks) << order for order, blocks in enumerate(guest.zone.nr_free)]
        return sum(frames), sum(frames[int(guest.zone.counts[ZoneCount.PAGEBLOCK_ORDER]) : ORDERS])

    return free_blocks
