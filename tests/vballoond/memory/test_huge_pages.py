"""Memory of hugetlbfs, where the host has set huge pages aside (/proc/sys/vm/nr_hugepages)."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.memory_files import FRAME

from vballoond.balloon.counters import Counters
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.inflate import inflate
from vballoond.errors import FrontEndError
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace

PAGES = 4


def huge_page_bytes() -> int:
    """The size of a huge page; 0 where too few of them are free."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    free = int(lines.get("HugePages_Free", "0"))
    return int(lines["Hugepagesize"].split()[0]) * 1024 if free >= PAGES else 0


HUGE = huge_page_bytes()

pytestmark = pytest.mark.skipif(not HUGE, reason=f"fewer than {PAGES} huge pages are free on this host")


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB)
    os.ftruncate(fd, PAGES * HUGE)
    place = RegionPlace(guest_address=0, size_bytes=PAGES * HUGE, user_address=0, file_offset=0)
    with closing(MappedRegion(place, fd)) as region:
        for page in range(PAGES):
            region.view(page * HUGE, 1)[0] = 7
        yield GuestMemory([region])
    os.close(fd)


def pfns(first: int, end: int) -> bytes:
    return np.arange(first, end, dtype="<u4").tobytes()


def test_a_huge_page_comes_back_when_all_of_it_was_inflated(memory: GuestMemory) -> None:
    frame_map, per_page = FrameMap(memory.frame_space), HUGE // FRAME
    assert memory.frame_space.host_page_frames == per_page
    assert memory.resident_bytes() == PAGES * HUGE
    for first in range(0, per_page - 256, 256):
        memory.release(inflate(frame_map, pfns(first, first + 256), Counters()))
        assert memory.resident_bytes() == PAGES * HUGE
        assert memory.read(0, 1) == b"\7"
    released = memory.release(inflate(frame_map, pfns(per_page - 256, per_page), Counters()))
    assert (released.freed_bytes, released.error) == (HUGE, None)
    assert memory.resident_bytes() == (PAGES - 1) * HUGE


def test_a_region_that_is_not_aligned_to_huge_pages_is_refused() -> None:
    fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB)
    os.ftruncate(fd, HUGE)
    place = RegionPlace(guest_address=FRAME, size_bytes=FRAME, user_address=0, file_offset=0)
    with pytest.raises(FrontEndError, match="as far into a host page"):
        MappedRegion(place, fd)
    os.close(fd)
