import multiprocessing

import pytest
from support.sweeps import Notes, broken_job, small_jobs

from vballoond.lab.simulation.sweep.here import run_here

pytestmark = pytest.mark.long


def test_in_this_process_each_run_is_told_and_one_that_fails_stops_no_other() -> None:
    notes, jobs = Notes(), [*small_jobs(seeds=(1,)), broken_job(), *small_jobs(seeds=(2,))]
    run_here(jobs, notes, processes=1)
    assert set(notes.results) == {job.key for job in small_jobs()}
    assert "no policy 'gone'" in notes.failures[broken_job().key]


def test_two_processes_come_to_the_same_as_this_one() -> None:
    here, there = Notes(), Notes()
    run_here(small_jobs(), here, processes=1)
    run_here([*small_jobs(), broken_job()], there, processes=2)
    assert there.results == here.results
    assert len({result.decisions for result in here.results.values()}) == 4
    assert list(there.failures) == [broken_job().key]


def test_ctrl_c_leaves_no_process() -> None:
    class Impatient(Notes):
        def finished(self, *_) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_here(small_jobs(seeds=range(1, 5)), Impatient(), processes=2)
    assert not multiprocessing.active_children()
