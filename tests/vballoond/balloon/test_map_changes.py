import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from vballoond.balloon import map_changes as module
from vballoond.balloon.densities import Cells, densities
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.map_changes import changes_since
from vballoond.memory.frames import FrameRange, FrameSpace

END = 40_000
SPACE = FrameSpace((FrameRange(3, 600), FrameRange(1030, 20_000), FrameRange(30_000, 10_000)))
THERE = {pfn for span in SPACE.spans for pfn in range(span.first, span.end)}
_PART = st.builds(lambda first, count: range(first, first + count), st.integers(0, END), st.integers(0, 700))
_STEPS = st.lists(st.tuples(st.sampled_from(["insert", "remove", "clear"]), _PART), max_size=8)
_WINDOW = st.builds(FrameRange, st.integers(0, END + 10), st.integers(0, END)) | st.just(FrameRange(0, END))


def take(frame_map, step, part):
    pfns = np.array(sorted(THERE.intersection(part)), dtype=np.uint32)
    if step == "clear":
        frame_map.clear()
    elif step == "insert":
        frame_map.insert(pfns)
    else:
        frame_map.remove(pfns)


def shown(frame_map, window, scale):
    cells = Cells.over(window, scale)
    return dict(zip(range(cells.first, cells.end, scale), densities(frame_map, cells).tolist(), strict=True))


@examples(200)
@given(
    before=_STEPS,
    after=_STEPS,
    window=_WINDOW,
    scale=st.sampled_from([1, 2, 16, 128, 256, 512, 4096]),
    chunk=st.sampled_from([1 << 8, 1 << 10, 1 << 14]),
)
def test_who_knows_a_version_and_is_told_the_changes_knows_the_map(before, after, window, scale, chunk):
    frame_map = FrameMap(SPACE)
    for step, part in before:
        take(frame_map, step, part)
    seen, since = shown(frame_map, window, scale), frame_map.version
    for step, part in after:
        take(frame_map, step, part)
    now = shown(frame_map, window, scale)
    differing = {first for first in now if now[first] != seen[first]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CELLS", chunk)
        patch.setattr(module, "MOST_CELLS", 2 * chunk)
        pieces = list(changes_since(frame_map, since, frame_map.version, window, scale))
    told = [
        (run.first + at * scale, cell)
        for piece in pieces
        for run in piece.runs
        for at, cell in enumerate(run.densities.tolist())
    ]
    assert [first for first, _ in told] == sorted({first for first, _ in told} | differing)
    assert seen | dict(told) == now
    assert [piece.version for piece in pieces] == [since] * (len(pieces) - 1) + [frame_map.version]
    most = chunk if scale == 1 else 2 * chunk
    assert all(sum(run.densities.size for run in piece.runs) <= most for piece in pieces)


def test_only_what_changed_is_told():
    frame_map = FrameMap(FrameSpace((FrameRange(0, 1 << 28),)))
    frame_map.insert(np.arange(1 << 20, dtype=np.uint32))
    since = frame_map.version
    frame_map.insert(np.array([1 << 27], dtype=np.uint32))
    (piece,) = changes_since(frame_map, since, frame_map.version, FrameRange(0, 1 << 28), 512)
    assert [(run.first, run.densities.tolist()) for run in piece.runs] == [(1 << 27, [1])]


def test_changes_that_are_near_each_other_are_one_run():
    frame_map = FrameMap(FrameSpace((FrameRange(0, 1 << 20),)))
    frame_map.insert(np.array([0, 16 * 256, 40 * 256], dtype=np.uint32))
    (piece,) = changes_since(frame_map, frame_map.born, frame_map.version, FrameRange(0, 1 << 20), 256)
    assert [(run.first, run.densities.size) for run in piece.runs] == [(0, 17), (40 * 256, 1)]


def test_a_change_while_it_is_told_is_told_again():
    frame_map = FrameMap(SPACE)
    frame_map.insert(np.array([5], dtype=np.uint32))
    born, now = frame_map.born, frame_map.version
    pieces = changes_since(frame_map, born, now, FrameRange(0, END), 1)
    frame_map.insert(np.array([6], dtype=np.uint32))
    assert [piece.version for piece in pieces] == [now]
    (again,) = changes_since(frame_map, now, frame_map.version, FrameRange(0, END), 1)
    assert again.runs[0].densities[6 - again.runs[0].first] == 254


def test_all_of_a_tebibyte_is_told_in_pieces_and_nothing_as_large_as_it_is_made():
    frames = 1 << 28
    frame_map = FrameMap(FrameSpace((FrameRange(0, frames),)))
    for first in range(0, frames, frames // 1024):
        frame_map.insert(np.arange(first, first + 256, dtype=np.uint32))
    now = frame_map.version
    frame_map.clear()
    tracemalloc.start()
    try:
        pieces = list(changes_since(frame_map, now, frame_map.version, FrameRange(0, frames), 256))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(len(piece.runs) for piece in pieces) == 1024
    assert peak_bytes < frames // 16


def test_only_the_last_piece_brings_the_new_version_and_each_is_as_full_as_it_may_be():
    frame_map = FrameMap(FrameSpace((FrameRange(0, 5 * module.CHUNK_CELLS),)))
    frame_map.insert(np.arange(5 * module.CHUNK_CELLS, dtype=np.uint32))
    born, now = frame_map.born, frame_map.version
    pieces = list(changes_since(frame_map, born, now, FrameRange(0, 5 * module.CHUNK_CELLS), 1))
    assert [piece.version for piece in pieces] == [born, born, born, born, now]
    assert {piece.cells for piece in pieces} == {module.CHUNK_CELLS}
