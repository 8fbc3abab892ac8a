"""The picture of a simulation: what the host had, what guests took, what balloons held, a colour for each policy.

Rules of this file: matplotlib comes with the extra "plot", so nobody imports this file before a picture is wanted;
colours are told apart by people who do not see red or green, and by their lightness; and what people have written is
drawn as it is, not as mathematics.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from .result import Point, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = ("#000000", "#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8a8a8a")
_MIB: Final = 1 << 20


def draw(summary: str, results: Sequence[RunResult], path: Path) -> None:
    """Write the picture to ``path``, in the format that its suffix names.

    Raises:
        OSError: It cannot be written.
    """
    figure = Figure(figsize=(12, 12), layout="constrained")
    first = results[0]
    figure.suptitle(f"{first.scenario}: {summary}; seed {first.seed}", parse_math=False)
    available, held, resident, stalls = figure.subplots(4, 1, sharex=True)
    _lines(available, results, lambda point: point.available_bytes / _MIB, "available on the host, MiB")
    available.axhline(first.reserve_bytes / _MIB, color="#606060", linestyle=":", label="reserve")
    _lines(held, results, lambda point: point.held_bytes / _MIB, "in balloons (targets dashed), MiB")
    _targets(held, results)
    _lines(resident, results, lambda point: point.resident_bytes / _MIB, "guests take, MiB")
    _lines(stalls, results, lambda point: point.stalls, "stalls so far (crosses: killed)")
    _kills(stalls, results)
    for label in available.legend(loc="best", frameon=False, fontsize="small").get_texts():
        label.set_parse_math(False)
    stalls.set_xlabel("virtual time, s")
    figure.savefig(path, dpi=120)


def _lines(axes: "Axes", results: Sequence[RunResult], value: Callable[[Point], float], title: str) -> None:
    for number, result in enumerate(results):
        times = [point.at_s for point in result.curve]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(times, [value(point) for point in result.curve], color=colour, label=result.policy)
    axes.set_ylabel(title)
    axes.grid(alpha=0.25)


def _targets(axes: "Axes", results: Sequence[RunResult]) -> None:
    for number, result in enumerate(results):
        times = [point.at_s for point in result.curve]
        targets = [point.target_bytes / _MIB for point in result.curve]
        axes.plot(times, targets, color=_COLOURS[number % len(_COLOURS)], linestyle="--", linewidth=0.8)


def _kills(axes: "Axes", results: Sequence[RunResult]) -> None:
    for number, result in enumerate(results):
        before = 0
        for point in result.curve:
            if point.oom_kills > before:
                axes.plot(point.at_s, point.stalls, marker="x", color=_COLOURS[number % len(_COLOURS)])
            before = point.oom_kills
