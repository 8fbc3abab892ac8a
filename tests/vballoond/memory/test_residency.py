import os

from support.memory_files import FRAME, fill, memory_file

from vballoond.memory.residency import resident_bytes


def test_only_what_was_touched_takes_memory():
    with memory_file(64 * FRAME) as fd:
        assert resident_bytes([fd]) == 0
        fill(fd, 3, 2)
        assert resident_bytes([fd]) == 2 * FRAME


def test_files_are_added_up():
    with memory_file(8 * FRAME) as one, memory_file(8 * FRAME) as other:
        fill(one, 0, 1)
        fill(other, 0, 3)
        assert resident_bytes([one, other]) == 4 * FRAME


def test_a_file_counts_once_however_many_descriptors_it_has():
    with memory_file(8 * FRAME) as fd:
        fill(fd, 0, 3)
        again = os.dup(fd)
        try:
            assert resident_bytes([fd, again, fd]) == 3 * FRAME
        finally:
            os.close(again)


def test_no_files_take_nothing():
    assert resident_bytes([]) == 0
