import io

import pytest
from rich.console import Console
from support.fake_daemon import MIB

from vballoond.cli.resize_display import Bar, Lines, NoDisplay, resize_bar
from vballoond.cli.resize_progress import ResizeProgress

NEW = ResizeProgress("vm1", 512 * MIB)
BEGUN = ResizeProgress("vm1", 512 * MIB, 1, 0, 128 * MIB, None, ((0.0, 0), (2.0, 128 * MIB)))
STALLED = ResizeProgress("vm1", 512 * MIB, 1, 0, 128 * MIB, "the guest is asleep")


def drawn(progress: ResizeProgress, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(resize_bar(progress))
    return console.file.getvalue().splitlines()


def test_lines_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(30) as lines:
        for progress in (NEW, BEGUN, BEGUN, STALLED, STALLED, BEGUN, BEGUN):
            lines.show(progress)
    assert capsys.readouterr().out.splitlines() == [
        "vm1: to 512 MiB from 0 B, for 30 s at most",
        "vm1: stalled at 128 MiB: the guest is asleep",
        "vm1: moves again at 128 MiB",
    ]


def test_scripts_see_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with NoDisplay() as nothing:
        nothing.show(BEGUN)
    assert capsys.readouterr() == ("", "")


def test_a_bar_has_sizes_rate_and_estimate() -> None:
    (line,) = drawn(BEGUN)
    assert line.startswith("vm1  ━━━")
    assert [part.strip() for part in line.split("  ")][-3:] == ["128 MiB of 512 MiB", "64 MiB/s", "6.0 s left"]
    assert len(line) == 80


def test_a_bar_says_why_nothing_moves() -> None:
    line, why = drawn(STALLED)
    assert "0 B/s" in line
    assert why == "  stalled: the guest is asleep"


def test_a_bar_says_which_way_it_goes() -> None:
    (line,) = drawn(ResizeProgress("vm1", 0, 1, 512 * MIB, 128 * MIB))
    assert "128 MiB, down to 0 B" in line


def test_a_long_name_is_cut() -> None:
    (line,) = drawn(ResizeProgress("n" * 64, 512 * MIB, 1, 0, 128 * MIB))
    assert f"{'n' * 19}…" in line
    assert "128 MiB of 512 MiB" in line


def test_a_bar_is_gone_at_the_end() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with Bar(console) as bar:
        bar.show(BEGUN)
    written = console.file.getvalue()
    assert "128 MiB of 512 MiB" in written
    assert written.rstrip("\r").endswith("\x1b[2K")
