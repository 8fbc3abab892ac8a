import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.highalloc import SMALL, fake_run

from protocol.balloon.frame_states import FrameState
from vballoond.lab.highalloc.frame_mosaic import map_figures, mosaic, states_of

A, F, H, B = FrameState.ABSENT, FrameState.FREE, FrameState.HUGE, FrameState.BALLOONED


def frames(*states: int) -> np.ndarray:
    return np.array(states, dtype=np.uint8)


def test_a_pageblock_is_a_tile_laid_out_row_by_row() -> None:
    states = frames(*range(4), *(F, B, F, F), *(H, H, H, H))
    assert mosaic(states, 4).tolist() == [
        [0, 1, A, F, B, A],
        [2, 3, A, F, F, A],
        [A, A, A, A, A, A],
        [H, H, A, A, A, A],
        [H, H, A, A, A, A],
        [A, A, A, A, A, A],
    ]


def test_a_last_pageblock_that_is_not_whole_is_filled_with_what_is_no_memory() -> None:
    assert mosaic(frames(*(H, H, H, H), F), 4).tolist() == [
        [H, H, A],
        [H, H, A],
        [A, A, A],
        [F, A, A],
        [A, A, A],
        [A, A, A],
    ]


@given(st.integers(1, 40), st.integers(0, 6), st.randoms(use_true_random=False))
def test_every_frame_is_in_the_picture_once(blocks: int, order: int, chance) -> None:
    states = frames(*(chance.randrange(7) for _ in range(blocks << order)))
    picture = mosaic(states, 1 << order)
    assert np.bincount(picture.ravel(), minlength=8)[:7].tolist() == np.bincount(states, minlength=8)[:7].tolist()


def test_a_guest_of_4_gib_is_about_square() -> None:
    assert mosaic(np.zeros(1 << 20, dtype=np.uint8), 512).shape == (64 * 17, 32 * 33)


def test_only_a_pageblock_that_is_all_huge_is_counted() -> None:
    figures = map_figures(frames(*(H, H, H, H), *(H, H, H, B), *(F, F, F, F), *(H, H, H, H)), 4)
    assert (figures.blocks, figures.huge) == (4, 2)


def test_where_the_balloon_is_is_a_share_of_its_frames() -> None:
    assert map_figures(frames(B, F, F, F, F, F, B, B), 4).balloon_in_last_quarter == 2 / 3
    assert map_figures(frames(B, F, F, F, F, B, F, F), 4).balloon_in_last_quarter == 0.0


def test_an_empty_balloon_is_nowhere() -> None:
    assert map_figures(frames(F, F, H, H), 4).balloon_in_last_quarter is None


def test_states_are_unpacked() -> None:
    assert states_of(zlib.compress(bytes([6, 0, 4]))).tolist() == [6, 0, 4]
    run = fake_run(SMALL, 1, balloon_compaction=True, progress=lambda _: None)
    assert len(states_of(run.frame_states)) == SMALL.guest_mib * 256
