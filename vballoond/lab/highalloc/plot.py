"""The picture of an experiment: how many huge pages were had when, and why no more: what each frame was at the time.

Rules of this file: matplotlib comes with the extra "plot", so nobody imports this file before a picture is wanted; and
colours are told apart by people who do not see red or green, and by their lightness.
"""

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from guest_driver.mm.zone import PAGEBLOCK_ORDER
from protocol.balloon.frame_states import FRAME_STATES, FrameState

from .frame_mosaic import States, map_figures, mosaic, states_of
from .measures import PASSES
from .result import RunResult
from .setting import MIB
from .summary import Summary
from .table import seeds_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STATE_COLOURS: Final = {
    FrameState.FREE: "#ffffff",
    FrameState.MOVABLE: "#b5d8f0",
    FrameState.UNMOVABLE: "#4a4a4a",
    FrameState.RECLAIMABLE: "#f0e442",
    FrameState.HUGE: "#1f6fb0",
    FrameState.ISOLATED: "#cc79a7",
    FrameState.BALLOONED: "#e04e00",
    FrameState.ABSENT: "#d9d9d9",
}
_DPI: Final = 240  # so that of a guest of 4 GiB every frame is a dot on paper
_CLEAN: Final = "#8a8a8a"
_PATCHED: Final = "#1f6fb0"
_FRAMES_A_MIB: Final = MIB >> 12


def draw(summary: Summary, path: Path) -> None:
    """Write the picture to ``path``, in the format that its suffix names.

    Raises:
        OSError: It cannot be written.
    """
    figure = Figure(figsize=(18, 9.6), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(4, 1), width_ratios=(1.15, 1, 1))
    heading = f"Huge pages while a balloon moves: {summary.setting.summary}; {seeds_in_words(summary.seeds)}"
    figure.suptitle(heading, fontsize="x-large")
    held, balloon = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    _draw_held(held, summary)
    _draw_balloon(balloon, summary)
    for column, balloon_compaction in enumerate((False, True), start=1):
        _draw_map(figure.add_subplot(grid[:, column]), summary.of_kind(balloon_compaction=balloon_compaction)[0])
    _draw_legend(figure)
    figure.savefig(path, dpi=_DPI)


def _kinds(summary: Summary) -> "list[tuple[str, str, list[RunResult]]]":
    clean, patched = (summary.of_kind(balloon_compaction=kind) for kind in (False, True))
    return [("clean", _CLEAN, clean), ("patched", _PATCHED, patched)]


def _draw_held(axes: "Axes", summary: Summary) -> None:
    """Draw a thin line for each run and a thick one for the mean of a kind."""
    setting = summary.setting
    attempts = (setting.guest_mib * MIB >> (PAGEBLOCK_ORDER + 12)) * setting.attempts_percent // 100
    for kind, colour, runs in _kinds(summary):
        minutes, percents = _curves(runs, 1, 100 / attempts)
        mean = percents.mean(axis=0)
        if len(runs) > 1:
            axes.plot(minutes, percents.T, color=colour, linewidth=0.6, alpha=0.5)
        label = f"{kind}, mean of {len(runs)} seeds" if len(runs) > 1 else kind
        axes.plot(minutes, mean, color=colour, linewidth=2.6, label=label)
        for measure, end in zip(PASSES, _ends_of_passes(mean), strict=False):
            got = statistics.fmean(getattr(run, measure.name) for run in runs)
            _say_at_peak(axes, (float(minutes[end]), float(mean[end])), f"{got:.1f} %", colour)
    axes.set(ylabel="huge pages held, % of attempts", ylim=(0, 108))
    axes.set_title(", ".join(measure.title for measure in PASSES) + ": huge pages that were had", loc="left")
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.tick_params(labelbottom=False)
    axes.margins(x=0.07)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper left", frameon=False)


def _say_at_peak(axes: "Axes", peak: tuple[float, float], text: str, colour: str) -> None:
    """Write above the patched curve, and right of the clean one, which the other may cover."""
    above = colour == _PATCHED
    axes.annotate(
        text,
        peak,
        xytext=(0, 5) if above else (5, -4),
        textcoords="offset points",
        ha="center" if above else "left",
        va="bottom" if above else "top",
        color=colour,
        fontweight="bold",
    )


def _draw_balloon(axes: "Axes", summary: Summary) -> None:
    """Draw how large the balloons were meanwhile."""
    for _, colour, runs in _kinds(summary):
        minutes, sizes_mib = _curves(runs, 2, 1 / _FRAMES_A_MIB)
        axes.plot(minutes, sizes_mib.mean(axis=0), color=colour)
    axes.xaxis.set_major_locator(MultipleLocator(5))
    axes.margins(x=0.07)
    axes.set(xlabel="minutes of the guest", ylabel="balloon, MiB", ylim=(0, summary.setting.balloon_mib * 1.1))
    axes.grid(alpha=0.25)


def _curves(runs: list[RunResult], column: int, scale: float) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    """Return one column of the runs' curves, a row each, at the times of the first run, in minutes."""
    times = np.array([point[0] for point in runs[0].curve])
    rows = [np.interp(times, [p[0] for p in run.curve], [p[column] for p in run.curve]) for run in runs]
    return times / 60, np.array(rows) * scale


def _ends_of_passes(held: "np.ndarray[Any, Any]") -> list[int]:
    """Return where most of what was held is let go at once, and the end where something still is."""
    falls = np.flatnonzero(held[1:] < 0.5 * held[:-1])
    ends = [int(index) for index in falls if held[index] > 0.1 * held.max() and index - 1 not in falls]
    return [*ends, len(held) - 1] if held[-1] > 0 else ends


def _draw_map(axes: "Axes", run: RunResult) -> None:
    """Draw all frames of one guest at the end of Pass 1, a tile for each pageblock."""
    states = states_of(run.frame_states)
    picture = mosaic(states, 1 << PAGEBLOCK_ORDER)
    colours = ListedColormap([_STATE_COLOURS[state] for state in FrameState])
    axes.imshow(picture, cmap=colours, vmin=-0.5, vmax=len(FrameState) - 0.5, interpolation="nearest", aspect="auto")
    kind = "patched: balloon pages can be moved" if run.balloon_compaction else "clean: balloon pages stay in place"
    axes.set_title(f"{kind}\n{_said(states)}", loc="left", fontsize="medium")
    _draw_addresses(axes, picture, len(states))
    axes.set_xlabel(f"end of Pass 1, seed {run.seed}; a tile is a pageblock of 2 MiB, a dot in it a frame")


def _said(states: States) -> str:
    figures = map_figures(states, 1 << PAGEBLOCK_ORDER)
    said = f"{figures.huge} of {figures.blocks} pageblocks huge"
    if figures.balloon_in_last_quarter is None:
        return said
    return f"{said}; {figures.balloon_in_last_quarter:.0%} of the balloon in the last quarter"


def _draw_addresses(axes: "Axes", picture: States, frames: int) -> None:
    rows = picture.shape[0]
    gib = np.linspace(0, frames / _FRAMES_A_MIB / 1024, 5)
    axes.set_yticks(np.linspace(-0.5, rows - 0.5, 5), [f"{value:g}" for value in gib])
    axes.set_ylabel("guest address, GiB")
    axes.set_xticks([])


def _draw_legend(figure: Figure) -> None:
    patches = [
        Patch(facecolor=_STATE_COLOURS[state], edgecolor="#808080", label=name) for name, state in FRAME_STATES.items()
    ]
    figure.legend(handles=patches, loc="outside lower right", ncols=len(patches), frameon=False)
