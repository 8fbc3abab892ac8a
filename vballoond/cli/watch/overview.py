"""All balloons on one screen: a line with a bar for each, and the newest events below."""

from typing import Any, Final

from rich.text import Text

from ..balloon_event import BalloonEvent
from ..wording import clock_time, duration, size
from .drawing import legend, memory_bar
from .world import World

_NAME: Final = 14
_STATE: Final = 7
_SIZE: Final = 9
_SIZES: Final = ("memory_bytes", "actual_bytes", "target_bytes", "resident_bytes")
_LEAST_BAR: Final = 6
_LEAST_EVENTS: Final = 6
_STATE_STYLES: Final = {"running": "green", "broken": "bold red", "paused": "yellow", "waiting": "bright_black"}


def overview_lines(world: World, width: int, height: int) -> list[Text]:
    """Return exactly ``height`` lines, none of them wider than ``width``."""
    rows = [line for balloon in world.balloons.values() for line in _balloon(world, balloon, width)]
    space = max(height - 4 - _LEAST_EVENTS, 1)
    if len(rows) > space:
        rows = [*rows[: space - 1], Text("… and more: a taller terminal shows them, or 'vballoond watch NAME'", "dim")]
    if not rows:
        rows = [Text("no balloons yet: 'vballoond add NAME --memory 1GiB' adds one", "dim")]
    head = [title(world, _count(world), width), _headings(width), *rows, Text()]
    events = event_lines(world, max(height - len(head) - 1, 0))
    return fitted([*head, *events], footer(legend()), width, height)


def _count(world: World) -> str:
    return "1 balloon" if len(world.balloons) == 1 else f"{len(world.balloons)} balloons"


def title(world: World, what: str, width: int) -> Text:
    """Return the first line: what is shown, and whose it is, or that it is out of date."""
    if world.lost is not None:
        return Text(f" {what}: out of date, {world.lost}; it is tried again ", "reverse red")
    left, right = f" {what} ", f" {world.api} "
    return Text(left + right.rjust(max(width - len(left), 0)), "reverse")


def footer(left: Text) -> Text:
    """Return the last line."""
    return left + Text("q leaves", "bold")


def fitted(lines: list[Text], last: Text, width: int, height: int) -> list[Text]:
    """Return the lines with ``last`` at the bottom, cut or filled to ``height``, and cut to ``width``."""
    body = lines[: max(height - 1, 0)]
    whole = [*body, *(Text() for _ in range(height - 1 - len(body))), last][-height:]
    for line in whole:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return whole


def event_lines(world: World, most: int, balloon: str | None = None) -> list[Text]:
    """Return the newest events, the newest first."""
    newest = (event for event in reversed(world.events) if balloon is None or event.balloon in (balloon, None))
    return [_event(event, named=balloon is None) for event, _ in zip(newest, range(most), strict=False)]


def _event(event: BalloonEvent, *, named: bool) -> Text:
    text = Text(f"{clock_time(event.at)}  ", "bright_black")
    if named:
        text.append(f"{_cut(event.balloon or '-', _NAME)}  ", "bold")
    return text.append(event.sentence())


def _headings(width: int) -> Text:
    labels = "".join(f"  {label:>{_SIZE}}" for label in ("MEMORY", "ACTUAL", "TARGET", "RESIDENT"))
    return Text(f"{'NAME':<{_NAME}}  {'STATE':<{_STATE}}  {'':<{_bar_width(width)}}{labels}", "bold")


def _bar_width(width: int) -> int:
    return max(width - _NAME - _STATE - 4 - len(_SIZES) * (_SIZE + 2), _LEAST_BAR)


def _balloon(world: World, balloon: dict[str, Any], width: int) -> list[Text]:
    line = Text(f"{_cut(balloon['name'], _NAME)}  ", "bold")
    line.append(f"{balloon['state']:<{_STATE}}  ", _STATE_STYLES.get(balloon["state"], ""))
    line.append_text(memory_bar(balloon, _bar_width(width)))
    line.append("".join(f"  {size(balloon[key]):>{_SIZE}}" for key in _SIZES))
    remark = _remark(world, balloon)
    return [line] if remark is None else [line, Text(f"{'':<{_NAME}}  {remark}", "yellow")]


def _remark(world: World, balloon: dict[str, Any]) -> str | None:
    if balloon["state"] == "broken":
        return str(balloon["reason"])
    resize, progress = balloon["resize"], world.progress.get(balloon["name"])
    if resize is None or resize["done"] or resize.get("outcome") is not None:
        return None
    if resize["stalled"]:
        return f"stalled: {resize['stalled']}"
    if progress is None or progress.remaining_s is None:
        return None
    return f"{size(round(progress.rate_bytes_per_s))}/s, {duration(progress.remaining_s)} left"


def _cut(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else f"{text[: width - 1]}…"
