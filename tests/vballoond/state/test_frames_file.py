import json
import os
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import open_descriptors
from support.properties import examples

from vballoond.balloon.frame_map import FrameMap
from vballoond.errors import StateError
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.state.frames_file import (
    FRAMES_HEADER,
    FramesHeader,
    make_frames_file,
    open_frames_file,
    written_in,
)
from vballoond.state.sealed_file import make_sealed, map_sealed

FRAMES_AT = 1 << 14
SPACE = FrameSpace((FrameRange(3, 9), FrameRange(20, 10), FrameRange((1 << 32) - 6, 6)))
THERE = [pfn for span in SPACE.spans for pfn in range(span.first, span.end)]
ALL = FrameRange(0, 1 << 32)


def pfns(frames) -> np.ndarray:
    return np.array(sorted(frames), dtype=np.uint32)


def frames_of(frame_map: FrameMap) -> list[int]:
    return [pfn for piece in frame_map.ranges(ALL) for pfn in range(piece.first, piece.end)]


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_frames_file(SPACE)
    yield made
    os.close(made)


def write_header(fd: int, text: bytes) -> None:
    """Have a header in the file that is whole, whatever it says."""
    header = FRAMES_HEADER.pack(FramesHeader(len(text), zlib.crc32(text)))
    map_sealed(fd)[: len(header) + len(text)] = header + text


def test_a_new_file_holds_no_frame(fd: int) -> None:
    held = open_frames_file(fd, SPACE)
    assert held.size == SPACE.frames
    assert not held.any()


@examples()
@given(steps=st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(THERE))), max_size=6))
def test_a_map_over_the_file_is_the_same_for_the_process_after(steps) -> None:
    fd = make_frames_file(SPACE)
    try:
        frame_map = FrameMap(SPACE, open_frames_file(fd, SPACE))
        for inserting, frames in steps:
            (frame_map.insert if inserting else frame_map.remove)(pfns(frames))
            after = FrameMap(SPACE, open_frames_file(fd, SPACE))
            assert frames_of(after) == frames_of(frame_map)
            assert after.held_frames == frame_map.held_frames
        frame_map.clear()
        assert frames_of(FrameMap(SPACE, open_frames_file(fd, SPACE))) == []
    finally:
        os.close(fd)


def test_the_bytes_outlive_the_descriptor() -> None:
    before = open_descriptors()
    fd = make_frames_file(SPACE)
    held = open_frames_file(fd, SPACE)
    os.close(fd)
    held[0] = 1
    assert held[0] == 1
    del held
    assert open_descriptors() == before


def test_a_file_for_a_terabyte_takes_memory_only_where_it_was_written() -> None:
    space = FrameSpace((FrameRange(0, 1 << 28),))
    fd = make_frames_file(space)
    try:
        open_frames_file(fd, space)[1 << 27] = 1
        assert os.fstat(fd).st_blocks * 512 <= 3 * 4096
    finally:
        os.close(fd)


def test_128_regions_far_apart_have_room_in_the_header() -> None:
    space = FrameSpace(tuple(FrameRange((1 << 32) - 20 * number - 11, 10) for number in reversed(range(128))))
    fd = make_frames_file(space)
    try:
        assert open_frames_file(fd, space).size == 1280
    finally:
        os.close(fd)


def test_a_memory_without_frames_has_a_file_too() -> None:
    fd = make_frames_file(FrameSpace())
    try:
        assert open_frames_file(fd, FrameSpace()).size == 0
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (FrameSpace((FrameRange(3, 9), FrameRange(20, 10), FrameRange(40, 6))), "a frame map of another memory"),
        (FrameSpace((FrameRange(0, 25),)), "a frame map of another memory"),
        (FrameSpace((FrameRange(3, 9),)), "a frame map of 25 frames, for a memory of 9"),
        (FrameSpace(), "a frame map of 25 frames, for a memory of 0"),
    ],
)
def test_a_map_of_another_memory_is_refused(fd: int, space: FrameSpace, why: str) -> None:
    with pytest.raises(StateError, match=why):
        open_frames_file(fd, space)


@pytest.mark.parametrize("size", [1, FRAMES_AT, FRAMES_AT + SPACE.frames - 1, FRAMES_AT + SPACE.frames + 1])
def test_a_file_of_another_length_is_refused(size: int) -> None:
    foreign = make_sealed("foreign", size)
    with pytest.raises(StateError, match=f"a frame map of {size - FRAMES_AT} frames"):
        open_frames_file(foreign, SPACE)
    os.close(foreign)


def test_a_file_that_is_not_sealed_is_refused() -> None:
    foreign = os.memfd_create("foreign")
    os.ftruncate(foreign, FRAMES_AT + SPACE.frames)
    with pytest.raises(StateError, match="not sealed"):
        open_frames_file(foreign, SPACE)
    os.close(foreign)


def test_a_foreign_file_of_the_right_length_is_refused() -> None:
    foreign = make_sealed("foreign", FRAMES_AT + SPACE.frames)
    with pytest.raises(StateError, match="no JSON"):
        open_frames_file(foreign, SPACE)
    os.close(foreign)


def test_every_damaged_byte_of_the_header_is_found_out(fd: int) -> None:
    memory = map_sealed(fd)
    length = FRAMES_HEADER.size + FRAMES_HEADER.unpack(memory[: FRAMES_HEADER.size]).length
    for at in range(length):
        memory[at] ^= 0x10
        with pytest.raises(StateError):
            open_frames_file(fd, SPACE)
        memory[at] ^= 0x10
    assert open_frames_file(fd, SPACE).size == SPACE.frames


def test_a_map_of_a_newer_format_says_that_a_newer_one_wrote_it(fd: int) -> None:
    write_header(fd, json.dumps({"version": 2, "spans": []}).encode())
    with pytest.raises(StateError, match=r"format 2, .*: it was written by a newer one"):
        open_frames_file(fd, SPACE)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"{}", b'{"version":1}', b'{"version":1,"spans":5}', b"[" * 9000, b"\xff" * 9000]
)
def test_a_whole_header_that_says_nothing_is_refused_in_a_sentence(fd: int, text: bytes) -> None:
    write_header(fd, text)
    with pytest.raises(StateError) as caught:
        open_frames_file(fd, SPACE)
    assert len(str(caught.value)) < 300


@examples(200)
@given(garbage=st.binary(min_size=1, max_size=400), whole=st.booleans())
def test_garbage_in_the_header_is_a_state_error(garbage: bytes, whole: bool) -> None:
    fd = make_frames_file(SPACE)
    try:
        if whole:
            write_header(fd, garbage)
        else:
            map_sealed(fd)[:400] = garbage.ljust(400, b"\0")
        with pytest.raises(StateError):
            open_frames_file(fd, SPACE)
    finally:
        os.close(fd)


def test_looking_at_a_map_of_which_little_was_written_takes_little_memory() -> None:
    space = FrameSpace((FrameRange(0, 1 << 26),))
    fd = make_frames_file(space)
    FrameMap(space, open_frames_file(fd, space), written=()).insert(np.array([5, 1 << 25], dtype=np.uint32))
    taken = os.fstat(fd).st_blocks
    again = FrameMap(space, open_frames_file(fd, space), written_in(fd))
    assert again.ranges(FrameRange(0, 1 << 26)) == (FrameRange(5, 1), FrameRange(1 << 25, 1))
    assert os.fstat(fd).st_blocks <= taken + (1 << 20) * 2 // 512  # the two pieces in which something is held
    os.close(fd)
