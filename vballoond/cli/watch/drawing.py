"""Bars, curves and maps in block characters.

Rules of this file: what a colour says, a character says as well, so that nothing is lost without colour. Only the map
has more cells to show with colour, two in each character.
"""

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

from rich.color import Color
from rich.style import Style
from rich.text import Text

RESIDENT: Final = "█"
BALLOONED: Final = "▒"
UNTOUCHED: Final = "·"
TARGET: Final = "┃"

_STYLES: Final = {RESIDENT: "green", BALLOONED: "blue", UNTOUCHED: "bright_black", TARGET: "bold yellow"}
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_SHADES: Final = "░▒▓█"

ABSENT: Final = 255
_FULL: Final = 254
_EMPTY_RGB: Final = (52, 52, 56)
_FAINT_RGB: Final = (38, 74, 110)
_HELD_RGB: Final = (86, 172, 255)


def legend() -> Text:
    """Say what the characters of a memory bar are."""
    text = Text()
    for mark, meaning in (
        (RESIDENT, "in use on the host"),
        (UNTOUCHED, "never touched"),
        (BALLOONED, "in the balloon"),
        (TARGET, "target"),
    ):
        text.append(mark, _STYLES[mark])
        text.append(f" {meaning}  ", "dim")
    return text


def memory_bar(balloon: dict[str, Any], width: int) -> Text:
    """Draw a guest's memory: from the left what it takes of the host, from the right what its balloon has."""
    memory = balloon["memory_bytes"]
    if not memory:
        return Text(" " * width)
    ballooned = _part(balloon["actual_bytes"], memory, width)
    resident = min(_part(balloon["resident_bytes"] or 0, memory, width), width - ballooned)
    marks = list(RESIDENT * resident + UNTOUCHED * (width - resident - ballooned) + BALLOONED * ballooned)
    if balloon["target_bytes"] != balloon["actual_bytes"]:
        marks[min(width - _part(balloon["target_bytes"], memory, width), width - 1)] = TARGET
    return _styled("".join(marks))


def _part(size: int, whole: int, width: int) -> int:
    return min(max(round(size / whole * width), 0), width)


def _styled(marks: str) -> Text:
    text = Text()
    for mark, run in groupby(marks):
        text.append("".join(run), _STYLES[mark])
    return text


def progress_bar(share: float, width: int) -> Text:
    """Draw how much of a way is done."""
    done = round(min(max(share, 0.0), 1.0) * width)
    return Text("━" * done, "green").append("╌" * (width - done), "bright_black")


def sparkline(values: Sequence[int], most: int, width: int) -> str:
    """Draw the newest values as columns, ``most`` being a full one; the newest is at the right."""
    shown = values[-width:] if width > 0 else []
    highest = max(most, 1)
    columns = (_LEVELS[min(value * len(_LEVELS) // highest, len(_LEVELS) - 1)] for value in shown)
    return "".join(columns).rjust(width)


def frame_blocks(cells: bytes, width: int, *, colour: bool) -> list[Text]:
    """Draw densities row by row: two rows of cells in each line with colour, one without."""
    rows = [cells[begin : begin + width].ljust(width, bytes([ABSENT])) for begin in range(0, len(cells), width)]
    if not colour:
        return [Text("".join(map(_shade, row))) for row in rows]
    if len(rows) % 2:
        rows.append(bytes([ABSENT]) * width)
    return [_double(above, below) for above, below in zip(rows[::2], rows[1::2], strict=True)]


def cells_per_line(width: int, *, colour: bool) -> int:
    """Return how many cells a line of a map shows."""
    return 2 * width if colour else width


def _shade(density: int) -> str:
    if density == ABSENT:
        return " "
    return UNTOUCHED if density == 0 else _SHADES[min(density * len(_SHADES) // (_FULL + 1), len(_SHADES) - 1)]


def _double(above: bytes, below: bytes) -> Text:
    text = Text()
    for (upper, lower), run in groupby(zip(above, below, strict=True)):
        mark, style = _half_block(upper, lower)
        text.append(mark * len(list(run)), style)
    return text


@cache
def _half_block(upper: int, lower: int) -> tuple[str, Style]:
    if upper == ABSENT:
        return (" ", Style()) if lower == ABSENT else ("▄", Style(color=_colour(lower)))
    background = None if lower == ABSENT else _colour(lower)
    return "▀", Style(color=_colour(upper), bgcolor=background)


def _colour(density: int) -> Color:
    if density == 0:
        return Color.from_rgb(*_EMPTY_RGB)
    share = density / _FULL
    return Color.from_rgb(*(faint + (held - faint) * share for faint, held in zip(_FAINT_RGB, _HELD_RGB, strict=True)))
