import fcntl
import os

import pytest
from support.backend_rig import open_descriptors

from vballoond.errors import StateError
from vballoond.state.sealed_file import make_sealed, map_sealed


def test_a_sealed_file_is_zeros_of_its_size_that_take_no_memory() -> None:
    fd = make_sealed("file", 1 << 20)
    try:
        assert map_sealed(fd)[:] == bytes(1 << 20)
        assert len(map_sealed(fd)) == 1 << 20
        os.ftruncate(fd, 1 << 20)
    finally:
        os.close(fd)
    fd = make_sealed("file", 1 << 30)
    try:
        assert os.fstat(fd).st_blocks == 0
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [0, 4095, 4097])
def test_nobody_can_resize_it(size: int) -> None:
    fd = make_sealed("file", 4096)
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(fd, size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    finally:
        os.close(fd)


def test_it_is_not_inherited_by_programs() -> None:
    fd = make_sealed("file", 4096)
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_what_is_stored_in_one_mapping_is_seen_in_another_and_outlives_the_descriptor() -> None:
    fd = make_sealed("file", 4096)
    one, two = map_sealed(fd), map_sealed(fd)
    os.close(fd)
    one[100] = 7
    assert two[100] == 7


def test_a_file_that_cannot_be_made_leaves_no_descriptor() -> None:
    before = open_descriptors()
    with pytest.raises(OSError, match="Invalid"):
        make_sealed("file", -1)
    assert open_descriptors() == before


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW])
def test_a_file_that_could_be_resized_or_sealed_against_writing_is_refused(seals: int) -> None:
    fd = os.memfd_create("file", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    try:
        with pytest.raises(StateError, match="not sealed against being resized"):
            map_sealed(fd)
    finally:
        os.close(fd)


def a_pipe() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


def a_sealed_file_of_nothing() -> int:
    return make_sealed("file", 0)


def a_file_that_is_sealed_against_writing() -> int:
    fd = os.memfd_create("file", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL | fcntl.F_SEAL_WRITE)
    return fd


def an_event() -> int:
    return os.eventfd(0)


STRANGE = [a_pipe, a_sealed_file_of_nothing, a_file_that_is_sealed_against_writing, an_event]


@pytest.mark.parametrize("make", STRANGE)
def test_what_cannot_be_mapped_is_refused_and_stays_the_callers(make) -> None:
    fd = make()
    with pytest.raises(StateError, match="cannot be mapped"):
        map_sealed(fd)
    os.close(fd)
