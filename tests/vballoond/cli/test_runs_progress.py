import io
from types import SimpleNamespace

from rich.console import Console
from support.sweeps import small_jobs

from vballoond.cli.runs_progress import RunsProgress, Told

A_RESULT = SimpleNamespace(late=0, measures=SimpleNamespace(policy_failures=0))
"""As much of one as is looked at."""


def test_each_run_is_a_line_and_is_kept_where_it_is_to_be() -> None:
    first, second, third, fourth = small_jobs()
    kept, out = [], io.StringIO()
    told = Told(keep=lambda job, result: kept.append((job, result)))
    with RunsProgress(4, told, Console(file=out, width=200)) as progress:
        progress.finished(first, A_RESULT)
        progress.failed(second, ValueError("no [memory] :cat:"))
    assert out.getvalue().splitlines() == [
        "small, shares, seed 1: done (1 of 4)",
        "small, shares, seed 2: failed: no [memory] :cat: (2 of 4)",
    ]
    assert kept == [(first, A_RESULT)]
    assert told.failures == ["small, shares, seed 2: no [memory] :cat:"]
    assert told.results == {}
    del third, fourth


def test_where_nobody_keeps_results_they_are_told_at_the_end() -> None:
    told, job = Told(), small_jobs()[0]
    with RunsProgress(1, told, Console(file=io.StringIO())) as progress:
        progress.finished(job, A_RESULT)
    assert told.results == {job.key: A_RESULT}


def test_on_a_terminal_there_is_a_bar() -> None:
    out = io.StringIO()
    with RunsProgress(1, Told(), Console(file=out, force_terminal=True, width=100)) as progress:
        progress.finished(small_jobs()[0], A_RESULT)
    assert "1/1" in out.getvalue()


def failing(failures: int, late: int) -> SimpleNamespace:
    """A result whose policy failed."""
    return SimpleNamespace(late=late, measures=SimpleNamespace(policy_failures=failures))


def test_that_a_policy_failed_is_told_with_the_run() -> None:
    out, kept = io.StringIO(), []
    told = Told(keep=lambda job, result: kept.append((job, result)))
    with RunsProgress(2, told, Console(file=out, width=200)) as progress:
        for job, failures in zip(small_jobs(), (1, 3), strict=False):
            progress.finished(job, failing(failures, late=0))
    assert out.getvalue().splitlines() == [
        "small, shares, seed 1: done, the policy failed once (1 of 2)",
        "small, shares, seed 2: done, the policy failed 3 times (2 of 2)",
    ]
    assert (len(kept), told.failures) == (2, [])


def test_a_run_whose_policy_ran_out_of_time_is_none_to_be_kept() -> None:
    kept, job = [], small_jobs()[0]
    told = Told(keep=lambda *_: kept.append(job))
    with RunsProgress(1, told, Console(file=io.StringIO())) as progress:
        progress.finished(job, failing(3, late=2))
    assert kept == []
    (failure,) = told.failures
    assert failure.startswith("small, shares, seed 1: the policy had no answer within 10 s 2 times")


def test_where_nobody_keeps_results_one_that_ran_out_of_time_is_shown() -> None:
    told, job, late = Told(), small_jobs()[0], failing(3, late=2)
    with RunsProgress(1, told, Console(file=io.StringIO())) as progress:
        progress.finished(job, late)
    assert (told.results, told.failures) == ({job.key: late}, [])
