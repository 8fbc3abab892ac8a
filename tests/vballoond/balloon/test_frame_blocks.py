from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.balloon.frame_blocks import BLOCK_FRAMES, FrameBlocks
from vballoond.memory.frames import FrameRange

END = 1 << 32
# Frames of one block, of neighbours, of another group of blocks, and at the end of what a number can name.
_FRAME = (
    st.integers(0, 3 * BLOCK_FRAMES) | st.integers((1 << 20) - 300, (1 << 20) + 300) | st.integers(END - 300, END - 1)
)
_FRAMES = st.sets(_FRAME, max_size=30)
_STEPS = st.lists(st.tuples(st.sampled_from(["insert", "remove", "clear", "begin"]), _FRAMES), max_size=12)


def array(frames):
    return np.array(sorted(frames), dtype=np.uint32)


@examples(300)
@given(steps=_STEPS, first=_FRAME, count=st.integers(0, 1 << 21) | st.just(END))
def test_blocks_know_what_they_hold_and_when_that_changed(steps, first, count):
    blocks, held, changed = FrameBlocks(END), set(), {}
    versions = [blocks.version]
    for step, frames in steps:
        touched = set()
        if step == "insert":
            touched = frames - held
            held |= frames
            blocks.count(array(touched), 1)
        elif step == "remove":
            touched = frames & held
            held -= frames
            blocks.count(array(touched), -1)
        elif step == "clear":
            touched, held = held, set()
            blocks.clear()
        else:
            blocks.begin()
            assert blocks.born == blocks.version
        assert blocks.version > versions[-1] or not touched
        versions.append(blocks.version)
        changed |= {frame // BLOCK_FRAMES: blocks.version for frame in touched}
    end = min(END, first + count)
    window = range(first // BLOCK_FRAMES, -(-end // BLOCK_FRAMES))
    for version in versions:
        found = blocks.changed_since(version, first, end).tolist()
        assert found == sorted(block for block, at in changed.items() if at > version and block in window)
    for block in changed:
        inside = range(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES)
        assert blocks.held[block] == sum(frame in inside for frame in held)
    parts = blocks.held_parts(FrameRange(first, end - first))
    assert all(before.end < after.first for before, after in pairwise(parts))
    assert all(first <= part.first < part.end <= end for part in parts)
    assert {pfn for pfn in held if first <= pfn < end} <= {
        pfn for part in parts for pfn in held if part.first <= pfn < part.end
    }
    for part in parts:
        assert {part.first // BLOCK_FRAMES, (part.end - 1) // BLOCK_FRAMES} <= {pfn // BLOCK_FRAMES for pfn in held}


def test_many_small_parts_are_one():
    blocks = FrameBlocks(1 << 20)
    blocks.count(array(range(300, 1 << 16, 2 * BLOCK_FRAMES)), 1)
    assert blocks.held_parts(FrameRange(0, 1 << 20)) == (FrameRange(256, (1 << 16) - 256),)
    blocks.count(array(range(300 + 128 * BLOCK_FRAMES, 1 << 16, 2 * BLOCK_FRAMES)), -1)
    assert blocks.held_parts(FrameRange(0, 1 << 20)) == tuple(
        FrameRange(256 + at * 2 * BLOCK_FRAMES, BLOCK_FRAMES) for at in range(64)
    )


def test_no_version_is_of_two_maps():
    one, other = FrameBlocks(1000), FrameBlocks(1000)
    seen = [one.version, other.version]
    for blocks in (one, other, one):
        blocks.count(array({1 + len(seen)}), 1)
        seen.append(blocks.version)
    one.clear()
    other.begin()
    seen += [one.version, other.version]
    assert len(set(seen)) == len(seen)


def test_what_counts_nothing_is_no_change():
    blocks = FrameBlocks(1000)
    before = blocks.version
    blocks.count(array(()), 1)
    assert blocks.version == before


def test_without_memory_nothing_ever_changes():
    blocks = FrameBlocks(0)
    blocks.clear()
    assert blocks.changed_since(0, 0, END).tolist() == []
    assert blocks.held_parts(FrameRange(0, END)) == ()
