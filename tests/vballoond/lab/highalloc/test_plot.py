from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.highalloc import SMALL, fake_run

from protocol.balloon.frame_states import FRAME_STATES
from vballoond.lab.highalloc import plot
from vballoond.lab.highalloc.measures import PASSES
from vballoond.lab.highalloc.summary import Summary


def summary(*seeds: int) -> Summary:
    runs = [
        fake_run(SMALL, seed, balloon_compaction=kind, progress=lambda _: None)
        for seed in seeds
        for kind in (False, True)
    ]
    return Summary(SMALL, runs)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Draws, and returns the figure instead of writing it."""

    def draw(shown: Summary) -> Figure:
        figures = []
        monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: figures.append(self))
        plot.draw(shown, tmp_path / "unused.png")
        return figures[0]

    return draw


def words(axes) -> str:
    return " ".join([axes.get_title(loc="left"), axes.get_xlabel(), *(text.get_text() for text in axes.texts)])


def test_seeds_and_setting_are_in_the_title(drawn) -> None:
    title = drawn(summary(1, 2, 3)).get_suptitle()
    assert SMALL.summary in title
    assert "seeds 1 to 3" in title


def test_each_run_is_a_thin_line_and_each_kind_a_thick_one(drawn) -> None:
    held = drawn(summary(1, 2, 3)).axes[0]
    assert sorted(line.get_linewidth() for line in held.lines) == [0.6] * 6 + [2.6] * 2
    assert [text.get_text() for text in held.get_legend().get_texts()] == [
        "clean, mean of 3 seeds",
        "patched, mean of 3 seeds",
    ]
    thin, thick = held.lines[0:3], held.lines[3]
    assert np.allclose(thick.get_ydata(), np.mean([line.get_ydata() for line in thin], axis=0))


def test_a_single_seed_is_one_line_of_each_kind(drawn) -> None:
    held = drawn(summary(4)).axes[0]
    assert [line.get_label() for line in held.lines] == ["clean", "patched"]


def test_each_pass_is_marked_with_what_the_table_says_of_it(drawn) -> None:
    shown = summary(1, 2)
    means = [shown.row(measure) for measure in PASSES]
    expected = [f"{row.clean.mean:.1f} %" for row in means] + [f"{row.patched.mean:.1f} %" for row in means]
    assert [text.get_text() for text in drawn(shown).axes[0].texts] == expected


def test_both_guests_frames_are_shown_and_said(drawn) -> None:
    _, _, clean, patched = drawn(summary(2, 3)).axes
    assert "clean: balloon pages stay in place" in words(clean)
    assert "patched: balloon pages can be moved" in words(patched)
    assert "100% of the balloon in the last quarter" in words(patched)
    assert "100%" not in words(clean)
    for axes in (clean, patched):
        assert "of 32 pageblocks huge" in words(axes)
        assert "seed 2" in words(axes)


def test_addresses_go_from_the_first_frame_to_the_last(drawn) -> None:
    clean = drawn(summary(1)).axes[2]
    rows = clean.images[0].get_array().shape[0]
    ticks = list(zip(clean.get_yticks(), (label.get_text() for label in clean.get_yticklabels()), strict=True))
    assert (ticks[0], ticks[-1]) == ((-0.5, "0"), (rows - 0.5, "0.0625"))
    assert clean.yaxis_inverted()


def test_the_legend_has_the_words_of_the_frame_map(drawn) -> None:
    (legend,) = drawn(summary(1)).legends
    assert [text.get_text() for text in legend.get_texts()] == list(FRAME_STATES)


def lightness(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_hinders_a_huge_page_is_told_by_lightness_too() -> None:
    light = {state.name: lightness(colour) for state, colour in plot._STATE_COLOURS.items()}
    assert min(light["FREE"], light["MOVABLE"], light["RECLAIMABLE"]) > light["BALLOONED"] + 0.3
    assert light["BALLOONED"] > light["UNMOVABLE"] + 0.05


def test_ends_of_passes_are_where_all_is_let_go() -> None:
    assert plot._ends_of_passes(np.array([0, 5, 9, 9, 0, 4, 8, 0, 0, 7])) == [3, 6, 9]
    assert plot._ends_of_passes(np.array([0, 50, 90, 40, 0, 80, 0])) == [2, 5]
    assert plot._ends_of_passes(np.array([0, 50, 0, 1, 0])) == [1]


@pytest.mark.parametrize(
    ("suffix", "magic"),
    [
        ("PNG", b"\x89PNG"),
        pytest.param("pdf", b"%PDF", marks=pytest.mark.long),
        pytest.param("svg", b"<?xml", marks=pytest.mark.long),
    ],
)
def test_the_suffix_names_the_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"why.{suffix}"
    plot.draw(summary(1), path)
    assert path.read_bytes().startswith(magic)


def test_every_frame_of_a_large_guest_has_a_dot_on_paper(drawn) -> None:
    figure = drawn(summary(1))
    figure.draw_without_rendering()
    for axes in figure.axes[2:]:
        dots = axes.get_position().transformed(figure.transFigure).size / figure.dpi * plot._DPI
        assert (dots >= (32 * 33, 64 * 17)).all()
