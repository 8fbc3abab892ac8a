"""Guest memory on real memory files."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace

FRAME = 4096


class Place(NamedTuple):
    """A region to be mapped; ``file_offset`` is where it lies in the one file of them all."""

    guest_address: int
    size_bytes: int
    file_offset: int = 0
    user_address: int = 0


@contextmanager
def memory_file(size_bytes: int, *, may_be_sealed: bool = False) -> Iterator[int]:
    """Open a memory file of ``size_bytes`` that takes nothing of the host yet."""
    fd = os.memfd_create("test", os.MFD_CLOEXEC | (os.MFD_ALLOW_SEALING if may_be_sealed else 0))
    try:
        os.ftruncate(fd, size_bytes)
        yield fd
    finally:
        os.close(fd)


@contextmanager
def mapped_region(fd: int, place: Place) -> Iterator[MappedRegion]:
    """Map a piece of a memory file."""
    with closing(MappedRegion(region_place(place), fd)) as region:
        yield region


@contextmanager
def guest_memory(*places: Place | tuple[int, ...]) -> Iterator[GuestMemory]:
    """Map ``places`` of one memory file that is just large enough for them."""
    named = [Place(*place) for place in places]
    size_bytes = max(place.file_offset + place.size_bytes for place in named)
    with memory_file(size_bytes) as fd, ExitStack() as stack:
        yield GuestMemory([stack.enter_context(mapped_region(fd, place)) for place in named])


def region_place(place: Place) -> RegionPlace:
    """Say the same to the source."""
    return RegionPlace(
        guest_address=place.guest_address,
        size_bytes=place.size_bytes,
        user_address=place.user_address,
        file_offset=place.file_offset,
    )


def fill(fd: int, first: int, count: int, byte: bytes = b"x") -> None:
    """Write whole frames of a memory file, so that the host has to have them."""
    assert os.pwrite(fd, byte * count * FRAME, first * FRAME) == count * FRAME
