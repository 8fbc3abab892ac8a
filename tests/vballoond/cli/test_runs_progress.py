import io

from rich.console import Console
from support.sweeps import small_jobs

from vballoond.cli.runs_progress import RunsProgress, Told


def test_each_run_is_a_line_and_is_kept_where_it_is_to_be() -> None:
    first, second, third, fourth = small_jobs()
    kept, out = [], io.StringIO()
    told = Told(keep=lambda job, result: kept.append((job, result)))
    with RunsProgress(4, told, Console(file=out, width=200)) as progress:
        progress.finished(first, "a result")
        progress.failed(second, ValueError("no [memory]"))
    assert out.getvalue().splitlines() == [
        "small, shares, seed 1: done (1 of 4)",
        "small, shares, seed 2: failed: no [memory] (2 of 4)",
    ]
    assert kept == [(first, "a result")]
    assert told.failures == ["small, shares, seed 2: no [memory]"]
    assert told.results == {}
    del third, fourth


def test_where_nobody_keeps_results_they_are_told_at_the_end() -> None:
    told, job = Told(), small_jobs()[0]
    with RunsProgress(1, told, Console(file=io.StringIO())) as progress:
        progress.finished(job, "a result")
    assert told.results == {job.key: "a result"}


def test_on_a_terminal_there_is_a_bar() -> None:
    out = io.StringIO()
    with RunsProgress(1, Told(), Console(file=out, force_terminal=True, width=100)) as progress:
        progress.finished(small_jobs()[0], "a result")
    assert "1/1" in out.getvalue()
