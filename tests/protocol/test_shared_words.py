import mmap
import os
import subprocess
import sys

import pytest
from support.memory_files import memory_file

from protocol.shared_words import full_barrier, words16, words32

READS_PER_LOOK = 20_000
LOOKS_AT_LEAST = 150
LOOKS_AT_MOST = 2000

# Stores 0x00ff and 0x0100 in turn into the word at byte 0 until the one at byte 64 says stop.
WRITER = """
import mmap, sys
from protocol.shared_words import words16
words = words16(memoryview(mmap.mmap(int(sys.argv[1]), 4096)))
print("ready", flush=True)
for _ in range(100_000_000):
    words[0] = 0x0100
    words[0] = 0x00FF
    if words[32]:
        break
"""


def test_a_reader_in_another_process_never_sees_half_of_a_stored_word():
    with memory_file(4096) as fd, mmap.mmap(fd, 4096) as shared, words16(memoryview(shared)) as words:
        words[0] = 0x00FF
        command = [sys.executable, "-c", WRITER, str(fd)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(command, pass_fds=[fd], env=environment, stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"ready\n"
                seen = set()
                for look in range(LOOKS_AT_MOST):
                    seen.update(words[0] for _ in range(READS_PER_LOOK))
                    if look >= LOOKS_AT_LEAST and len(seen) > 1:
                        break
            finally:
                words[32] = 1

    assert seen == {0x00FF, 0x0100}
    assert writer.returncode == 0


def test_words_are_native_and_share_the_memory_under_them():
    memory = bytearray(8)
    words16(memoryview(memory))[1] = 0x1234
    words32(memoryview(memory))[1] = 0x56789ABC

    assert memory.hex() == "00003412bc9a7856"
    assert words16(memoryview(memory)).tolist() == [0, 0x1234, 0x9ABC, 0x5678]
    assert words32(memoryview(memory)).tolist() == [0x12340000, 0x56789ABC]


@pytest.mark.parametrize(("words", "length"), [(words16, 7), (words32, 6), (words32, 7)])
def test_bytes_that_are_not_whole_words_are_refused(words, length):
    with pytest.raises(ValueError, match=f"{length} bytes are not whole"):
        words(memoryview(bytearray(length)))


def test_a_barrier_can_be_passed_again_and_again():
    for _ in range(3):
        full_barrier()
