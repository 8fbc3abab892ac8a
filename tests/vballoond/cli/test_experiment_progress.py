import io
import re

import pytest
from rich.console import Console
from support.highalloc import make_result

from vballoond.cli.experiment_progress import ExperimentProgress
from vballoond.lab.highalloc.parallel import Job

FIRST, SECOND = Job(1, balloon_compaction=False), Job(1, balloon_compaction=True)


def make_console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=100, highlight=False, force_terminal=terminal, color_system=None)


def shown(console: Console) -> str:
    """All that was ever written, without what moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_that_is_done_is_a_line(terminal: bool) -> None:
    console = make_console(terminal=terminal)
    with ExperimentProgress(2, console) as progress:
        progress.progressed(FIRST, 0.5)
        progress.finished(SECOND, make_result(1, True, (66.25, 81.0, 90.0)))
        progress.finished(FIRST, make_result(1, False, (57.0, 53.5, 89.0)))
    lines = [line.strip() for line in shown(console).splitlines()]
    assert [line for line in lines if line.endswith("of 2)")] == [
        "seed 1, patched: Pass 1 66.2 %, Pass 2 81.0 %, while Rested 90.0 % (1 of 2)",
        "seed 1, clean: Pass 1 57.0 %, Pass 2 53.5 %, while Rested 89.0 % (2 of 2)",
    ]


def test_without_a_terminal_there_is_nothing_but_those_lines() -> None:
    console = make_console(terminal=False)
    with ExperimentProgress(2, console) as progress:
        progress.progressed(FIRST, 0.5)
        assert shown(console) == ""
        progress.finished(FIRST, make_result(1, False))
    assert len(shown(console).splitlines()) == 1


def test_on_a_terminal_each_run_has_a_bar_and_all_together_one() -> None:
    console = make_console(terminal=True)
    with ExperimentProgress(4, console) as progress:
        progress.progressed(FIRST, 0.5)
        progress.progressed(SECOND, 0.1)
        last = shown(console).splitlines()[-3:]
    assert [(line.split("━")[0].strip(), line.split("━")[-1].split()[0]) for line in last] == [
        ("4 runs", "15%"),
        ("seed 1, clean", "50%"),
        ("seed 1, patched", "10%"),
    ]


def test_the_bar_of_a_run_that_is_done_goes_but_counts() -> None:
    console = make_console(terminal=True)
    with ExperimentProgress(2, console) as progress:
        progress.progressed(FIRST, 0.5)
        progress.finished(FIRST, make_result(1, False))
        progress.progressed(SECOND, 0.5)
        last = shown(console).splitlines()[-2:]
    assert [line.split("━")[0].strip() for line in last] == ["2 runs", "seed 1, patched"]
    assert "75%" in last[0]


def test_it_writes_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with ExperimentProgress(1) as progress:
        progress.finished(FIRST, make_result(1, False))
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("seed 1, clean: ")
