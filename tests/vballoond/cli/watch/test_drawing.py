import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_daemon import MIB, balloon

from vballoond.cli.watch.drawing import (
    ABSENT,
    cells_per_line,
    frame_blocks,
    legend,
    memory_bar,
    progress_bar,
    sparkline,
)

SIZES = st.integers(0, 4096).map(lambda mib: mib * MIB)


def bar(width: int = 16, **changes) -> str:
    return memory_bar(balloon(**changes), width).plain


def test_a_bar_has_the_host_at_the_left_and_the_balloon_at_the_right() -> None:
    shown = {"actual_bytes": 256 * MIB, "target_bytes": 256 * MIB, "resident_bytes": 512 * MIB}
    assert bar(**shown) == "████████····▒▒▒▒"


def test_a_target_that_is_not_reached_is_marked_where_the_balloon_will_begin() -> None:
    shown = {"actual_bytes": 256 * MIB, "target_bytes": 512 * MIB, "resident_bytes": 256 * MIB}
    assert bar(**shown) == "████····┃···▒▒▒▒"
    assert bar(**{**shown, "target_bytes": 0}) == "████········▒▒▒┃"


def test_memory_that_nobody_knows_is_no_bar() -> None:
    assert bar(memory_bytes=None, resident_bytes=None) == " " * 16


@given(st.integers(1, 100), SIZES, SIZES, SIZES, SIZES)
def test_a_bar_is_as_wide_as_it_is_to_be(width: int, memory: int, actual: int, target: int, resident: int) -> None:
    sizes = {"memory_bytes": memory, "actual_bytes": actual, "target_bytes": target, "resident_bytes": resident}
    assert len(bar(width, **sizes)) == width


def test_every_mark_is_explained() -> None:
    marks = set(bar(actual_bytes=256 * MIB, target_bytes=512 * MIB, resident_bytes=256 * MIB))
    assert all(mark in legend().plain for mark in marks)


@given(st.floats(-1, 2), st.integers(1, 100))
def test_a_progress_bar_is_as_wide_as_it_is_to_be(share: float, width: int) -> None:
    assert len(progress_bar(share, width).plain) == width


def test_a_progress_bar_fills() -> None:
    assert [progress_bar(share, 4).plain for share in (0, 0.5, 1)] == ["╌╌╌╌", "━━╌╌", "━━━━"]


def test_a_curve_has_its_newest_point_at_the_right() -> None:
    assert sparkline([0, 50, 100], 100, 4) == " ▁▅█"
    assert sparkline(range(10), 9, 3) == "▇██"
    assert sparkline([], 100, 3) == "   "
    assert sparkline([1], 0, 0) == ""


def test_without_colour_a_cell_is_a_shade() -> None:
    lines = frame_blocks(bytes([0, 1, 63, 64, 128, 192, 254, ABSENT]), 5, colour=False)
    assert [line.plain for line in lines] == ["·░░▒▓", "██   "]


def test_with_colour_a_character_is_two_cells() -> None:
    (line,) = frame_blocks(bytes([0, 254, ABSENT, ABSENT, 254, ABSENT, 254, ABSENT]), 4, colour=True)
    assert line.plain == "▀▀▄ "
    first, second = line.spans[0].style, line.spans[1].style
    assert first.color != first.bgcolor
    assert second.bgcolor is None
    assert first.bgcolor == second.color


def test_an_odd_row_stands_alone() -> None:
    (line,) = frame_blocks(bytes([254, 254]), 2, colour=True)
    assert line.plain == "▀▀"


@given(st.binary(max_size=500), st.integers(1, 80), st.booleans())
def test_a_map_fits_where_its_cells_were_counted_for(cells: bytes, width: int, colour: bool) -> None:
    lines = frame_blocks(cells, width, colour=colour)
    assert all(len(line.plain) == width for line in lines)
    assert len(lines) == -(-len(cells) // cells_per_line(width, colour=colour))


@pytest.mark.parametrize("colour", [True, False])
def test_no_cells_are_no_lines(colour: bool) -> None:
    assert frame_blocks(b"", 80, colour=colour) == []
