"""All of a guest's memory: bounds-checked translation, and giving frames back.

Rules of this file:

* Addresses in descriptors are guest-physical and come from the guest: a wrong one is a :class:`GuestError`. Ring
  addresses over vhost-user are the front-end's user addresses: a wrong one is a :class:`FrontEndError`.
* What is read from the guest is copied out, once. Nobody looks at it a second time, when it may have changed.
* A buffer may cross from one region into the next where they touch; a ring may not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from protocol.balloon.page_frames import FRAME_BYTES

from ..errors import FrontEndError, GuestError
from .frames import FrameRange, FrameSpace, merge
from .punch import punch_hole
from .region import MappedRegion
from .residency import resident_bytes


@dataclass(frozen=True, slots=True)
class Released:
    """What giving frames back came to: bytes that the kernel freed, and the first error if there was one."""

    freed_bytes: int = 0
    error: OSError | None = None


class GuestMemory:
    """The regions of one guest, which never change: a new memory table makes a new ``GuestMemory``.

    Args:
        regions: In any order.

    Raises:
        FrontEndError: Two regions overlap in guest addresses.
    """

    def __init__(self, regions: Sequence[MappedRegion] = ()) -> None:
        self.regions = tuple(sorted(regions, key=lambda region: region.place.guest_address))
        places = [region.place for region in self.regions]
        for before, after in pairwise(places):
            if before.guest_end > after.guest_address:
                raise FrontEndError(
                    f"memory regions at guest addresses {before.guest_address:#x} and {after.guest_address:#x} overlap"
                )
        self.size_bytes = sum(place.size_bytes for place in places)
        host_page_frames = max((region.host_page_frames for region in self.regions), default=1)
        self.frame_space = FrameSpace(merge(place.frames for place in places), host_page_frames)

    def read(self, guest_address: int, length: int) -> bytes:
        """Copy ``length`` bytes out of guest memory.

        Raises:
            GuestError: Some of them are not in guest memory.
        """
        pieces = [bytes(region.view(offset, count)) for region, offset, count in self._pieces(guest_address, length)]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def user_view(self, user_address: int, length: int) -> memoryview:
        """Return a view of ``length`` bytes at a front-end's address; the caller releases it.

        Raises:
            FrontEndError: They do not lie in one region.
        """
        for region in self.regions:
            offset = user_address - region.place.user_address
            if offset >= 0 and offset + length <= region.place.size_bytes:
                return region.view(offset, length)
        raise FrontEndError(f"{length} bytes at user address {user_address:#x} do not lie in one memory region")

    def release(self, ranges: Iterable[FrameRange]) -> Released:
        """Give frames back to the host. Frames outside the memory are left alone.

        May take milliseconds: :func:`punch_hole` leaves the interpreter lock to others meanwhile. On an error the rest
        is still tried, and the error returned.
        """
        before = self.resident_bytes()
        error: OSError | None = None
        for region, piece in self._regions_of(ranges):
            try:
                punch_hole(region.fd, region.file_offset_of(piece.first), piece.count * FRAME_BYTES)
            except OSError as failure:
                error = error or failure
        # The guest touches memory while holes are made, so the difference can be smaller than what was freed.
        return Released(max(0, before - self.resident_bytes()), error)

    def resident_bytes(self) -> int:
        """Return what the memory files take of the host now, from the kernel's accounting, each file once."""
        return resident_bytes(region.fd for region in self.regions)

    def _pieces(self, guest_address: int, length: int) -> Iterator[tuple[MappedRegion, int, int]]:
        """Split a guest address range into (region, offset, count); the parts join without a hole."""
        at, end = guest_address, guest_address + length
        for region in self.regions:
            place = region.place
            if at < end and place.guest_address <= at < place.guest_end:
                count = min(end, place.guest_end) - at
                yield region, at - place.guest_address, count
                at += count
        if at < end:
            raise GuestError(f"{length} bytes at guest address {guest_address:#x} are not in guest memory")

    def _regions_of(self, ranges: Iterable[FrameRange]) -> Iterator[tuple[MappedRegion, FrameRange]]:
        for wanted in ranges:
            for region in self.regions:
                frames = region.place.frames
                first, end = max(wanted.first, frames.first), min(wanted.end, frames.end)
                if first < end:
                    yield region, FrameRange(first, end - first)
