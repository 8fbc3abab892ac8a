"""Inflating and deflating: virtio 1.4 section 5.5.6, steps 1 to 3 and 5.5.6.1, 5.5.6.2.

Rules of this file:

* A request is an array of 32-bit page frame numbers. Bytes behind the last whole one are ignored, as by QEMU's device.
* A frame that is not the guest's is ignored and counted: the request is completed all the same, since a driver waits
  for its buffer without a time limit.
* Frames are given back before the inflate request is completed. Without MUST_TELL_HOST the driver may use a page again
  as soon as it got its buffer back (5.5.6.1), so afterwards would be too late.
* Where the host has huge pages, one is given back when the last of its frames was inflated (``host_pages``).
* Deflating asks nothing of the host: the guest's next touch brings a fresh page.
* More than the target may be inflated: Linux moves a balloon page by inflating the new one first.
"""

from typing import Final

from protocol.balloon.page_frames import PAGE_FRAME

from ..memory.frames import FrameRange, PfnArray, sorted_unique
from .counters import Counters
from .frame_map import FrameMap

MAX_REQUEST_BYTES: Final = 4096 * PAGE_FRAME.size
"""Linux sends at most 256 frames in a request (VIRTIO_BALLOON_ARRAY_PFNS_MAX), Windows and FreeBSD 1024 or fewer. The
bound keeps a request to a millisecond or two of reading, and to some tens of holes' time outside of the event loop."""


def inflate(frame_map: FrameMap, data: bytes, counters: Counters) -> tuple[FrameRange, ...]:
    """Hold the frames that ``data`` lists; return the ranges to give back, also of those that were held already."""
    pfns = _frames_of(frame_map, data, counters)
    new = frame_map.insert(pfns)
    counters.inflate_requests += 1
    counters.inflated_frames += new
    counters.repeated_frames += int(pfns.size) - new
    return frame_map.to_release(pfns)


def deflate(frame_map: FrameMap, data: bytes, counters: Counters) -> None:
    """Hold the frames that ``data`` lists no more."""
    pfns = _frames_of(frame_map, data, counters)
    gone = frame_map.remove(pfns)
    counters.deflate_requests += 1
    counters.deflated_frames += gone
    counters.repeated_frames += int(pfns.size) - gone


def _frames_of(frame_map: FrameMap, data: bytes, counters: Counters) -> PfnArray:
    listed = PAGE_FRAME.array(data)["pfn"]
    distinct = sorted_unique(listed)
    known = frame_map.space.inside(distinct)
    counters.odd_bytes += len(data) % PAGE_FRAME.size
    counters.repeated_frames += listed.size - distinct.size
    counters.foreign_frames += distinct.size - known.size
    return known
