import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.balloon import densities as module
from vballoond.balloon.densities import ALL_HELD, AUTO_CELLS, MAX_SCALE, NO_MEMORY, Cells, auto_scale, densities
from vballoond.balloon.frame_map import FrameMap
from vballoond.memory.frames import FrameRange, FrameSpace

# Spans that touch, that begin and end within cells, and a hole of some blocks.
SPACE = FrameSpace((FrameRange(3, 600), FrameRange(603, 5), FrameRange(1030, 700), FrameRange(3000, 72)))
THERE = [pfn for span in SPACE.spans for pfn in range(span.first, span.end)]
_HELD = st.lists(
    st.builds(range, st.integers(0, 3072), st.integers(0, 3072)) | st.builds(range, *[st.integers(500, 700)] * 2),
    max_size=6,
)


def density_of(held: set[int], frames: range) -> int:
    """By the rule in the module's head, frame by frame."""
    there = [pfn for pfn in frames if pfn in _THERE]
    count = sum(pfn in held for pfn in there)
    if not there:
        return NO_MEMORY
    if count in (0, len(there)):
        return ALL_HELD if count else 0
    return 1 + count * 253 // len(there)


_THERE = set(THERE)


@examples(200)
@given(
    parts=_HELD,
    window=st.builds(FrameRange, st.integers(0, 3200), st.integers(0, 3200)),
    scale=st.sampled_from([1 << shift for shift in range(13)]),
    piece_frames=st.sampled_from([256, 1024, 1 << 20]),
)
def test_densities_are_those_of_a_plain_count(parts, window, scale, piece_frames):
    held = {pfn for part in parts for pfn in part} & _THERE
    frame_map = FrameMap(SPACE)
    frame_map.insert(np.array(sorted(held), dtype=np.uint32))
    cells = Cells.over(window, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE_FRAMES", piece_frames)
        found = densities(frame_map, cells)
    assert found.dtype == np.uint8
    assert found.tolist() == [
        density_of(held, range(first, first + scale)) for first in range(cells.first, cells.end, scale)
    ]


@examples(200)
@given(
    window=st.builds(FrameRange, st.integers(0, 1 << 32), st.integers(0, 1 << 32)),
    scale=st.sampled_from([1 << shift for shift in range(23)]),
)
def test_cells_are_whole_and_those_that_the_window_needs(window, scale):
    cells = Cells.over(window, scale)
    assert cells.first % scale == 0
    if window.count:
        assert cells.first <= window.first < cells.first + scale
        assert cells.end - scale < window.end <= cells.end
    else:
        assert cells.count == 0
    auto = auto_scale(window)
    assert Cells.over(window, auto).count <= AUTO_CELLS
    assert auto == 1 or Cells.over(window, auto // 2).count > AUTO_CELLS


def test_one_frame_in_the_largest_cell_is_seen_and_one_missing_too():
    frame_map = FrameMap(FrameSpace((FrameRange(0, 2 * MAX_SCALE),)))
    frame_map.insert(np.array([5], dtype=np.uint32))
    cells = Cells(0, 2, MAX_SCALE)
    assert densities(frame_map, cells).tolist() == [1, 0]
    for first in range(MAX_SCALE, 2 * MAX_SCALE, 1 << 20):
        frame_map.insert(np.arange(first, first + (1 << 20), dtype=np.uint32))
    assert densities(frame_map, cells).tolist() == [1, ALL_HELD]
    frame_map.remove(np.array([2 * MAX_SCALE - 1], dtype=np.uint32))
    assert densities(frame_map, cells).tolist() == [1, ALL_HELD - 1]


@pytest.mark.parametrize("scale", [128, 256, 4096])
def test_nothing_as_large_as_a_map_of_a_tebibyte_is_made(scale):
    frames = 1 << 28
    frame_map = FrameMap(FrameSpace((FrameRange(0, frames),)))
    for first in range(0, frames, frames // 16):
        frame_map.insert(np.arange(first, first + 512, dtype=np.uint32))
    tracemalloc.start()
    try:
        found = densities(frame_map, Cells.over(FrameRange(0, frames), scale))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.count_nonzero(found) == 16 * max(1, 512 // scale)
    assert peak_bytes < frames // 4
