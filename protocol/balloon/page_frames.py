"""How a balloon names pages: virtio 1.4 section 5.5.6, "the driver constructs an array of addresses"."""

from typing import Final, NamedTuple

from construct import Int32ul

from ..layout import Layout

PFN_SHIFT: Final = 12
"""VIRTIO_BALLOON_PFN_SHIFT: a page frame number is a guest-physical address shifted by this, on every architecture."""

PFN_BITS: Final = 32
"""The width of a page frame number in a request; ``num_pages`` and ``actual`` have the same."""

FRAME_BYTES: Final = 1 << PFN_SHIFT


class PageFrame(NamedTuple):
    """One element of the array that an inflate or deflate request carries."""

    pfn: int


PAGE_FRAME: Final = Layout(PageFrame, pfn=Int32ul)
