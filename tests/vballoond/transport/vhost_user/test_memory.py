import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from support.backend_rig import backend_rig, open_descriptors
from support.fake_front_end import DONE, REFUSED, memory_table, qemu_connect, single_region
from support.memory_files import FRAME, memory_file

from protocol.vhost_user.payloads import MemoryRegionDescription
from protocol.vhost_user.requests import Request
from vballoond.errors import FrontEndError
from vballoond.memory.frames import FrameRange
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import RegionPlace
from vballoond.transport.vhost_user.memory import map_memory, unmap
from vballoond.transport.vhost_user.session import Session, memory_name

LOW, HIGH = (RegionPlace(at, 4 * FRAME, at, 0) for at in (0, 16 * FRAME))
BOTH = Session(regions=(LOW, HIGH))


@contextmanager
def memory_files(*sealed: bool) -> Iterator[dict[str, int]]:
    """Open a file for each region: sealed against shrinking, or one that could be."""
    with ExitStack() as stack:
        fds = [stack.enter_context(memory_file(4 * FRAME, may_be_sealed=True)) for _ in sealed]
        for fd, wanted in zip(fds, sealed, strict=True):
            if wanted:
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        yield {memory_name(place): fd for place, fd in zip((LOW, HIGH), fds, strict=False)}


def mappings() -> int:
    """How many mappings this process has of the files."""
    with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123
        return sum("memfd:test" in line for line in maps)


def test_sealed_memory_is_mapped_where_sealed_memory_is_wanted() -> None:
    with memory_files(True, True) as fds:
        memory = map_memory(BOTH, GuestMemory(), fds, fds, require_sealed=True)
        assert memory.size_bytes == 8 * FRAME
        unmap(memory.regions, keep=GuestMemory())


def test_sealed_memory_is_given_back_as_any_other() -> None:
    with memory_files(True) as fds:
        memory = map_memory(Session(regions=(LOW,)), GuestMemory(), fds, fds, require_sealed=True)
        (fd,) = fds.values()
        os.pwrite(fd, b"x" * 4 * FRAME, 0)
        released = memory.release([FrameRange(1, 2)])
        assert (released.freed_bytes, released.error) == (2 * FRAME, None)
        unmap(memory.regions, keep=GuestMemory())


@pytest.mark.parametrize("sealed", [(False, False), (False, True), (True, False)])
def test_memory_that_can_shrink_is_refused_there_and_nothing_is_left_mapped(sealed: tuple[bool, bool]) -> None:
    with memory_files(*sealed) as fds:
        before = mappings(), open_descriptors()
        with pytest.raises(FrontEndError, match="can shrink"):
            map_memory(BOTH, GuestMemory(), fds, fds, require_sealed=True)
        assert (mappings(), open_descriptors()) == before


def test_memory_that_can_shrink_is_mapped_where_nothing_is_wanted() -> None:
    with memory_files(False, False) as fds:
        memory = map_memory(BOTH, GuestMemory(), fds, fds)
        assert memory.size_bytes == 8 * FRAME
        unmap(memory.regions, keep=GuestMemory())


def test_a_file_that_takes_the_place_of_a_sealed_one_has_to_be_sealed_too() -> None:
    with memory_files(True, True) as fds, memory_file(4 * FRAME) as other:
        present = map_memory(BOTH, GuestMemory(), fds, fds, require_sealed=True)
        name = memory_name(HIGH)
        with pytest.raises(FrontEndError, match="can shrink"):
            map_memory(BOTH, present, {**fds, name: other}, {name}, require_sealed=True)
        assert present.read(0, 4) == present.read(16 * FRAME, 4) == bytes(4)
        kept = map_memory(BOTH, present, fds, (), require_sealed=True)
        assert kept.regions == present.regions
        unmap(present.regions, keep=GuestMemory())


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("request_", [Request.ADD_MEM_REG, Request.SET_MEM_TABLE])
async def test_a_front_end_is_told_by_a_refusal_where_the_balloon_wants_sealed_memory(
    sealed: bool, request_: Request
) -> None:
    region = MemoryRegionDescription(0, 4 * FRAME, 0x1000, 0)
    payload = single_region(region) if request_ is Request.ADD_MEM_REG else memory_table([region])
    async with backend_rig(require_sealed_memory=True) as rig:
        vm = rig.connect()
        await qemu_connect(vm)
        with memory_files(sealed) as fds:
            answer = await vm.acknowledged(request_, payload, [*fds.values()])
        assert answer == (DONE if sealed else REFUSED)
        assert rig.service.memory.size_bytes == (4 * FRAME if sealed else 0)
