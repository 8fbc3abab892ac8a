import functools
import multiprocessing
import os
from dataclasses import replace

import pytest
from support.highalloc import SMALL, dying_run, endless_run, fake_run, telling_run

from vballoond.lab.highalloc.parallel import Job, WorkerDiedError, jobs_for, run_all

JOBS = jobs_for([1, 2])


class Notes:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.shares: list[tuple[Job, float]] = []
        self.ended: list[Job] = []
        self.most_at_once = 0

    def progressed(self, job: Job, share: float) -> None:
        self.shares.append((job, share))
        self.most_at_once = max(self.most_at_once, len(multiprocessing.active_children()))

    def finished(self, job: Job, result) -> None:
        assert (result.seed, result.balloon_compaction) == (job.seed, job.balloon_compaction)
        self.ended.append(job)


class Impatient(Notes):
    """Presses Ctrl-C when the second run reports."""

    def progressed(self, job: Job, share: float) -> None:
        super().progressed(job, share)
        if len({job for job, _ in self.shares}) == 2:
            raise KeyboardInterrupt


def test_each_seed_is_run_without_and_with_compaction() -> None:
    assert [str(job) for job in jobs_for([3, 1])] == [
        "seed 3, clean",
        "seed 3, patched",
        "seed 1, clean",
        "seed 1, patched",
    ]


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_the_order_of_the_jobs_whatever_runs_at_once(processes: int) -> None:
    notes = Notes()
    results = run_all(SMALL, JOBS, fake_run, processes=processes, observer=notes)
    assert results == [
        fake_run(SMALL, job.seed, balloon_compaction=job.balloon_compaction, progress=lambda _: None) for job in JOBS
    ]
    assert sorted(notes.ended, key=JOBS.index) == JOBS
    assert notes.most_at_once <= processes
    assert multiprocessing.active_children() == []


def test_runs_are_at_it_at_the_same_time() -> None:
    notes = Impatient()
    with pytest.raises(KeyboardInterrupt):
        run_all(SMALL, JOBS, endless_run, processes=2, observer=notes)
    assert notes.most_at_once == 2


def test_an_interrupt_leaves_no_worker() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_all(SMALL, JOBS, endless_run, processes=3, observer=Impatient())
    assert multiprocessing.active_children() == []


def test_progress_is_passed_on_as_it_was_told() -> None:
    notes = Notes()
    run_all(SMALL, JOBS[:1], telling_run, processes=1, observer=notes)
    assert notes.shares == [(JOBS[0], 0.0), (JOBS[0], 0.25), (JOBS[0], 1.0)]


def test_each_run_has_a_fresh_process_that_ctrl_c_does_not_reach() -> None:
    results = run_all(replace(SMALL, name="v10"), JOBS, telling_run, processes=2, observer=Notes())
    told = [result.counters for result in results]
    assert len({run["pid"] for run in told} | {os.getpid()}) == 5
    assert {run["sigint_blocked_at_import"] for run in told} == {True}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("killed", "killed by signal 9 (Killed)"),
        ("ended", "its process ended with status 0"),
        ("raised", "its process ended with status 1"),
    ],
)
def test_a_worker_that_dies_is_told_by_its_seed(capfd: pytest.CaptureFixture[str], how: str, said: str) -> None:
    run = functools.partial(dying_run, how=how)
    with pytest.raises(WorkerDiedError) as died:
        run_all(SMALL, jobs_for([1, 2, 3]), run, processes=2, observer=Notes())
    assert str(died.value) == f"the run with seed 2, patched died: {said}"
    assert multiprocessing.active_children() == []
    assert ("RuntimeError: it cannot be done" in capfd.readouterr().err) == (how == "raised")
