import errno
import fcntl
import os

import pytest
from support.memory_files import FRAME, fill, memory_file

from vballoond.memory.punch import punch_hole


def test_a_hole_gives_pages_back_reads_as_zero_and_leaves_the_size():
    with memory_file(4 * FRAME) as fd:
        fill(fd, 0, 4)
        punch_hole(fd, FRAME, 2 * FRAME)
        assert os.pread(fd, 4 * FRAME, 0) == b"x" * FRAME + bytes(2 * FRAME) + b"x" * FRAME
        assert os.fstat(fd).st_blocks * 512 == 2 * FRAME
        assert os.fstat(fd).st_size == 4 * FRAME


def test_a_hole_at_the_end_leaves_the_size():
    with memory_file(2 * FRAME) as fd:
        fill(fd, 0, 2)
        punch_hole(fd, FRAME, FRAME)
        assert os.fstat(fd).st_size == 2 * FRAME


def test_a_hole_beyond_four_gibibytes_is_made_where_it_was_asked_for():
    far = (1 << 33) + FRAME
    with memory_file(1 << 34) as fd:
        fill(fd, 1, 1)
        fill(fd, far // FRAME, 1)
        punch_hole(fd, far, FRAME)
        assert os.pread(fd, FRAME, FRAME) == b"x" * FRAME
        assert os.pread(fd, FRAME, far) == bytes(FRAME)


def test_a_file_that_is_sealed_against_writing_cannot_be_punched():
    with memory_file(FRAME, may_be_sealed=True) as fd:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        with pytest.raises(PermissionError, match=r"fallocate\(PUNCH_HOLE\) of 4096 bytes at 0"):
            punch_hole(fd, 0, FRAME)


def test_a_file_that_is_open_for_reading_only_cannot_be_punched():
    with memory_file(FRAME) as fd:
        read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        try:
            with pytest.raises(OSError, match="fallocate") as caught:
                punch_hole(read_only, 0, FRAME)
        finally:
            os.close(read_only)
    assert caught.value.errno == errno.EBADF


def test_a_hole_of_no_bytes_is_an_error():
    with memory_file(FRAME) as fd, pytest.raises(OSError, match="of 0 bytes") as caught:
        punch_hole(fd, 0, 0)
    assert caught.value.errno == errno.EINVAL
