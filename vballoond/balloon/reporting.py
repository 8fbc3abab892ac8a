"""Free page reporting: virtio 1.4 section 5.5.6.7.

Rules of this file:

* The driver lists free memory as device-writable buffers and waits for the request to be completed, so it always is:
  reporting left unserved pins 124 MiB of a Linux guest, and keeps its driver from being removed.
* Until the request is completed nobody else uses the memory, so that is when it is given back. It reads as zero from
  then on, which 5.5.6.7.2 allows only where PAGE_POISON was not negotiated or poison_val is 0.
* What is not whole frames, not whole pages of the host's, or not the guest's, is left alone. Reported frames are still
  the guest's: they do not count as held, and a touch brings them back.
"""

from collections.abc import Iterable
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES, PFN_SHIFT

from ..memory.frames import FrameRange, FrameSpace
from ..virtqueue.chain import Buffer
from .counters import Counters

MAX_REPORTED_FRAMES: Final = (1 << 30) // FRAME_BYTES
"""Given back for one request: Linux reports 32 blocks of 4 MiB at most on x86-64. The bound keeps a request to a
fraction of a second; what is beyond it stays with the guest."""


def reported_ranges(space: FrameSpace, buffers: Iterable[Buffer], counters: Counters) -> tuple[FrameRange, ...]:
    """Return the frames that a request reports, as far as they can be given back."""
    counters.reporting_requests += 1
    ranges: list[FrameRange] = []
    left = MAX_REPORTED_FRAMES
    for buffer in buffers:
        if buffer.address % FRAME_BYTES or buffer.length % FRAME_BYTES:
            counters.odd_bytes += buffer.length
            continue
        wanted = FrameRange(buffer.address >> PFN_SHIFT, buffer.length >> PFN_SHIFT)
        for piece, _ in space.pieces(space.whole_host_pages(wanted)):
            taken = min(piece.count, left)
            left -= taken
            if taken:
                ranges.append(FrameRange(piece.first, taken))
    counters.reported_frames += MAX_REPORTED_FRAMES - left
    return tuple(ranges)
