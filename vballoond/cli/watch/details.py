"""One balloon on one screen: sizes, resize, curves, statistics, its frame map, and its newest events.

Rules of this file: the map gets what the rest leaves, so the rest has a fixed height, and :func:`map_room` says how
much that is before anything is drawn.
"""

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from ...sizes import format_size
from ..tables import statistic
from ..wording import duration, resize_in_words, size
from .drawing import cells_per_line, frame_blocks, legend, memory_bar, progress_bar, sparkline
from .frame_cells import FrameCells
from .overview import event_lines, fitted, footer, title
from .world import World

_FRAME_BYTES: Final = 4096
_LABEL: Final = 10
_VALUE: Final = 10
_EVENTS: Final = 4
_SIZES: Final = ("memory", "target", "actual", "resident")
_ABOVE_MAP: Final = 12  # title, sizes (3), resize (2), curves (2), statistics (2), an empty line, the map's own heading
_FIRST_STATISTICS: Final = (
    "free_memory",
    "available_memory",
    "total_memory",
    "disk_caches",
    "major_faults",
    "oom_kill",
)


def map_room(width: int, height: int, *, colour: bool) -> tuple[int, int]:
    """Return how many lines a map may have on such a terminal, and how many cells that is."""
    lines = max(height - _ABOVE_MAP - _EVENTS - 1, 0)
    return lines, lines * cells_per_line(width, colour=colour)


def detail_lines(
    world: World, name: str, frames: FrameCells | str, width: int, height: int, *, colour: bool
) -> list[Text]:
    """Return exactly ``height`` lines, none wider than ``width``; ``frames`` is the map, or why there is none."""
    balloon = world.balloons.get(name)
    if balloon is None:
        gone = [title(world, name, width), Text(f"there is no balloon {name!r} any more", "yellow"), Text()]
        return fitted([*gone, *event_lines(world, height - 4, name)], footer(Text()), width, height)
    head = [
        title(world, f"{name}  {balloon['transport']}", width),
        *_sizes(balloon, width),
        *_resize(world, balloon, width),
        *_curves(world, balloon, width),
        *_statistics(world, name, width),
        Text(),
        _map_heading(frames),
    ]
    assert len(head) == _ABOVE_MAP
    drawn = [] if isinstance(frames, str) else frame_blocks(bytes(frames.cells), width, colour=colour)
    room, _ = map_room(width, height, colour=colour)
    body = [*head, *drawn[:room]]
    return fitted([*body, *event_lines(world, height - len(body) - 1, name)], footer(legend()), width, height)


def _labelled(label: str, text: Text | str) -> Text:
    return Text(f"{label:<{_LABEL}}", "bold").append_text(Text(text) if isinstance(text, str) else text)


def _sizes(balloon: Mapping[str, Any], width: int) -> list[Text]:
    reason = f": {balloon['reason']}" if balloon["reason"] else ""
    features = " ".join(balloon["features"]["negotiated"])
    state = f"{balloon['state']}{reason}  {size(balloon['reclaimed_bytes'])} reclaimed so far  {features}"
    sizes = "  ".join(f"{label} {size(balloon[f'{label}_bytes'])}" for label in _SIZES)
    bar = memory_bar(dict(balloon), max(width - _LABEL, 1))
    return [
        _labelled("state", state),
        _labelled("sizes", sizes),
        _labelled("", bar),
    ]


def _resize(world: World, balloon: Mapping[str, Any], width: int) -> list[Text]:
    resize, progress = balloon["resize"], world.progress.get(balloon["name"])
    if resize is None or progress is None or resize["done"] or resize.get("outcome") is not None:
        return [_labelled("resize", resize_in_words(resize)), Text()]
    left = "" if progress.remaining_s is None else f", {duration(progress.remaining_s)} left"
    said = f"  #{resize['id']} to {size(resize['target_bytes'])}, {size(round(progress.rate_bytes_per_s))}/s{left}"
    bar = progress_bar(progress.share, max(width - _LABEL - len(said), 4))
    stalled = f"stalled: {resize['stalled']}" if resize["stalled"] else ""
    return [_labelled("resize", bar + Text(said)), _labelled("", Text(stalled, "yellow"))]


def _curves(world: World, balloon: Mapping[str, Any], width: int) -> list[Text]:
    points = list(world.curves.get(balloon["name"], ()))
    columns = max(width - _LABEL - _VALUE - 1, 1)
    lines = []
    for label, values, style in (
        ("actual", [point.actual_bytes for point in points], "blue"),
        ("resident", [point.resident_bytes for point in points], "green"),
    ):
        most = balloon["memory_bytes"] or max(values, default=1)
        now = size(values[-1]) if values else ""
        lines.append(_labelled(label, Text(sparkline(values, most, columns), style).append(f" {now:>{_VALUE}}", "")))
    return lines


def _statistics(world: World, name: str, width: int) -> list[Text]:
    statistics = world.statistics.get(name)
    if statistics is None:
        return [_labelled("guest", Text("has sent no statistics", "bright_black")), Text()]
    said = statistics.view["statistics"]
    order = [tag for tag in _FIRST_STATISTICS if tag in said]
    order += [tag for tag in said if tag not in order and said[tag]]
    doubtful = statistics.view.get("doubtful") or {}
    parts = [f"{tag}{'?' if tag in doubtful else ''} {statistic(tag, said[tag])}" for tag in order]
    age_s = statistics.age_s(world.now_s())
    first, rest = _packed([f"{duration(age_s)} ago:", *parts], width - _LABEL)
    return [_labelled("guest", first), _labelled("", rest)]


def _packed(parts: list[str], width: int) -> tuple[str, str]:
    """Put parts into two lines; what does not fit is left out."""
    lines = ["", ""]
    for part in parts:
        for number, line in enumerate(lines):
            if len(line) + len(part) + 2 <= width:
                lines[number] = f"{line}  {part}" if line else part
                break
        else:
            break
    return lines[0], lines[1]


def _map_heading(frames: FrameCells | str) -> Text:
    if isinstance(frames, str):
        return _labelled("frames", Text(frames, "bright_black"))
    if not frames.frames:
        return _labelled("frames", Text("no memory is known yet", "bright_black"))
    cell = "a cell is a frame" if frames.scale == 1 else f"a cell is {format_size(frames.scale * _FRAME_BYTES)}"
    moved = f"; {frames.migrated} balloon pages have moved" if frames.migrated else ""
    return _labelled("frames", f"{frames.frames} from {frames.first:#x} on, {cell}{moved}")
