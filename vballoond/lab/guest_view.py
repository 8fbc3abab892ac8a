"""How a modelled guest sees its own frames, for frame maps."""

from guest_driver.guest import Guest
from guest_driver.mm.frame_states import frame_states

from ..balloon.frame_pictures import GuestView
from ..memory.frames import FrameRange


def guest_view_of(guest: Guest) -> GuestView:
    """Return what draws a window of the guest's memory. It may be called while the guest runs, from any thread."""

    def draw(window: FrameRange) -> bytes:
        return frame_states(guest.zone, window.first, window.count).tobytes()

    return draw
