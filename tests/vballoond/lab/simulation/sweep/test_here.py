import multiprocessing
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

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


SWEEP = """
import multiprocessing
from support.sweeps import Notes, small_jobs
from vballoond.lab.simulation.sweep.here import run_here

class Telling(Notes):
    def finished(self, *_):
        print(*[process.pid for process in multiprocessing.active_children()], flush=True)

if __name__ == "__main__":
    run_here(small_jobs(seeds=range(1, 200)), Telling(), processes=2)
"""


def test_workers_end_with_a_sweep_that_is_killed(tmp_path) -> None:
    (tmp_path / "sweep.py").write_text(SWEEP)
    tests = Path(__file__).parents[4]
    paths = os.pathsep.join([str(tests), str(tests.parent)])
    with subprocess.Popen(
        [sys.executable, tmp_path / "sweep.py"], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    ) as sweep:
        workers = [os.pidfd_open(int(pid)) for pid in sweep.stdout.readline().split()]
        sweep.send_signal(signal.SIGKILL)
    try:
        for worker in workers:
            assert select.select([worker], [], [], 60)[0], "a worker goes on"
    finally:
        for worker in workers:
            os.close(worker)
    assert len(workers) == 2
