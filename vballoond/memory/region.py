"""One region of guest memory: a piece of a file that guest and front-end share, mapped here."""

import mmap
import os
from dataclasses import dataclass
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES, PFN_BITS, PFN_SHIFT

from ..errors import FrontEndError
from .frames import FrameRange

MAX_GUEST_ADDRESS: Final = 1 << (PFN_BITS + PFN_SHIFT)
"""A balloon names frames with 32 bits, so it reaches no memory above this; nor could a target count it."""

_ADDRESS_SPACE: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class RegionPlace:
    """Where a region lies for the guest, for the front-end, and in its file. All in bytes.

    Raises:
        FrontEndError: It is empty, does not consist of whole pages, or leaves the address space.
    """

    guest_address: int
    size_bytes: int
    user_address: int
    file_offset: int

    def __post_init__(self) -> None:
        if self.size_bytes == 0:
            raise FrontEndError(f"memory region at guest address {self.guest_address:#x} is empty")
        for name in ("guest_address", "size_bytes", "user_address", "file_offset"):
            if getattr(self, name) % FRAME_BYTES:
                raise FrontEndError(f"memory region with {name} {getattr(self, name):#x}, which is not whole pages")
        if self.guest_end > MAX_GUEST_ADDRESS:
            raise FrontEndError(f"memory region up to guest address {self.guest_end:#x}, above {MAX_GUEST_ADDRESS:#x}")
        for name in ("user_address", "file_offset"):
            if getattr(self, name) + self.size_bytes > _ADDRESS_SPACE:
                raise FrontEndError(f"memory region with {name} {getattr(self, name):#x} passes 2**64")

    @property
    def guest_end(self) -> int:
        """The first guest address behind the region."""
        return self.guest_address + self.size_bytes

    @property
    def frames(self) -> FrameRange:
        """The frames of the region."""
        return FrameRange(self.guest_address // FRAME_BYTES, self.size_bytes // FRAME_BYTES)


class MappedRegion:
    """A region mapped into the daemon.

    The descriptor stays the caller's, who keeps it open for as long as the region is used.

    Args:
        place: Where the region lies.
        fd: The memory file, open for reading and writing.

    Raises:
        FrontEndError: The file is shorter than the region, or cannot be mapped shared and writable.
    """

    def __init__(self, place: RegionPlace, fd: int) -> None:
        self.place = place
        self.fd = fd
        needed = place.file_offset + place.size_bytes
        size = os.fstat(fd).st_size
        if size < needed:
            # Touching a mapping behind the end of its file is a SIGBUS, which no exception handler sees.
            raise FrontEndError(f"memory file has {size} bytes, its region ends at byte {needed}")
        # hugetlbfs reports its page size as its block size.
        self.host_page_frames = max(1, os.fstatvfs(fd).f_bsize // FRAME_BYTES)
        # It maps only from multiples of that.
        granularity = max(mmap.ALLOCATIONGRANULARITY, self.host_page_frames * FRAME_BYTES)
        if (place.guest_address - place.file_offset) % (self.host_page_frames * FRAME_BYTES):
            raise FrontEndError(
                f"memory region at guest address {place.guest_address:#x} and file offset {place.file_offset:#x}: "
                f"both must be as far into a host page of {self.host_page_frames * FRAME_BYTES} bytes"
            )
        lead = place.file_offset % granularity
        try:
            self._mapping = mmap.mmap(fd, lead + place.size_bytes, offset=place.file_offset - lead)
        except (OSError, ValueError, OverflowError) as error:
            raise FrontEndError(f"memory file cannot be mapped: {error}") from error
        self._view = memoryview(self._mapping)[lead : lead + place.size_bytes]

    def view(self, offset: int, length: int) -> memoryview:
        """Return ``length`` bytes from ``offset`` in the region; the caller releases it before :meth:`close`."""
        return self._view[offset : offset + length]

    def file_offset_of(self, pfn: int) -> int:
        """Return where frame ``pfn`` starts in the memory file."""
        return self.place.file_offset + pfn * FRAME_BYTES - self.place.guest_address

    def close(self) -> None:
        """Unmap the region. Every view of it must have been released.

        Raises:
            BufferError: One was not; the region stays mapped.
        """
        self._view.release()
        self._mapping.close()
