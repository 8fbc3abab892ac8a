"""What a person sees while a resize is waited for: a bar on a terminal, a few lines elsewhere."""

from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..sizes import format_size
from .resize_progress import ResizeProgress
from .wording import duration

_LONGEST_NAME: Final = 20
_MIN_WIDTH: Final = 24


class Display(Protocol):
    """Shows a resize."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def show(self, progress: ResizeProgress) -> None:
        """Show how far it is."""


class _Plain:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


class NoDisplay(_Plain):
    """Shows nothing: for scripts."""

    def show(self, progress: ResizeProgress) -> None:
        """Show nothing."""


class Lines(_Plain):
    """A line when it begins, and one whenever it stalls or moves again: for logs and pipes."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s: Final = wait_s
        self._begun = False
        self._stalled: str | None = None

    def show(self, progress: ResizeProgress) -> None:
        """Print what is new."""
        if progress.number is None:
            return
        if not self._begun:
            self._begun = True
            origin = "" if progress.from_bytes is None else f" from {format_size(progress.from_bytes)}"
            self._say(progress, f"to {format_size(progress.target_bytes)}{origin}, for {self._wait_s:g} s at most")
        if progress.stalled != self._stalled:
            self._stalled = progress.stalled
            where = format_size(progress.actual_bytes or 0)
            self._say(progress, f"stalled at {where}: {self._stalled}" if self._stalled else f"moves again at {where}")

    def _say(self, progress: ResizeProgress, text: str) -> None:
        print(f"{progress.name}: {text}", flush=True)


class Bar:
    """A bar with sizes, rate and estimate, which is gone at the end: for terminals."""

    def __init__(self, console: Console) -> None:
        self._live: Final = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, progress: ResizeProgress) -> None:
        """Draw it anew."""
        self._live.update(resize_bar(progress), refresh=True)


def resize_bar(progress: ResizeProgress) -> RenderableType:
    """Draw a resize in one line, and a second one if it is stalled."""
    row = Table.grid(expand=True, padding=(0, 2, 0, 0))
    row.add_column(no_wrap=True, max_width=_LONGEST_NAME, overflow="ellipsis")
    row.add_column(ratio=1, min_width=8)
    for _ in range(3):
        row.add_column(no_wrap=True, justify="right")
    remaining_s = progress.remaining_s
    row.add_row(
        Text(progress.name),
        ProgressBar(total=1.0, completed=progress.share),
        Text(_way(progress)),
        Text(f"{format_size(round(progress.rate_bytes_per_s))}/s"),
        Text("" if remaining_s is None else f"{duration(remaining_s)} left"),
    )
    if progress.stalled is None:
        return row
    return Group(row, Text(f"  stalled: {progress.stalled}", style="yellow"))


def _way(progress: ResizeProgress) -> str:
    actual, target = format_size(progress.actual_bytes or 0), format_size(progress.target_bytes)
    down = progress.from_bytes is not None and progress.target_bytes < progress.from_bytes
    return f"{actual}, down to {target}" if down else f"{actual} of {target}"
