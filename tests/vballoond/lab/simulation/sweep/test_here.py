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


def test_ctrl_c_leaves_no_process_and_begins_no_further_run() -> None:
    class Impatient(Notes):
        def finished(self, *_) -> None:
            self.workers = multiprocessing.active_children()
            raise KeyboardInterrupt

    impatient = Impatient()
    with pytest.raises(KeyboardInterrupt):
        run_here(small_jobs(seeds=range(1, 100)), impatient, processes=2)
    assert not multiprocessing.active_children()
    # One that had made all that there is would have ended by itself, with 0.
    assert [worker.exitcode for worker in impatient.workers] == [1, 1]


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


def script(tmp_path, text: str, **environ: str) -> subprocess.Popen:
    """Start a script that has what tests share."""
    path, tests = tmp_path / "script.py", Path(__file__).parents[4]
    path.write_text(text)
    paths = os.pathsep.join([str(tests), str(tests.parent)])
    return subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths, **environ}
    )


def test_workers_end_with_a_sweep_that_is_killed(tmp_path) -> None:
    with script(tmp_path, SWEEP) as sweep:
        workers = [os.pidfd_open(int(pid)) for pid in sweep.stdout.readline().split()]
        sweep.send_signal(signal.SIGKILL)
    try:
        for worker in workers:
            assert select.select([worker], [], [], 60)[0], "a worker goes on"
    finally:
        for worker in workers:
            os.close(worker)
    assert len(workers) == 2


ONE_AT_A_TIME = """
import asyncio
import signal
from dataclasses import replace
from functools import partial
from support.sweeps import Notes, file_job
from vballoond.lab.simulation.endings import ending_in_order
from vballoond.lab.simulation.sweep.here import run_here
from vballoond.runner.child import Child

LOOPS = '''
from vballoond.policy import Policy
class Take(Policy):
    name = "take"
    def plan(self, view, settings):
        while True: pass
'''
true_ask = Child.ask

def telling_ask(self, question):
    if question.head["do"] == "plan":
        asyncio.get_running_loop().call_soon(partial(print, "asked", flush=True))
    return true_ask(self, question)

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run below nohup
    Child.ask = telling_ask
    with ending_in_order():
        run_here([replace(file_job(LOOPS), time_limit_s=60)], Notes(), processes=1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_amid_a_question_leaves_no_file(tmp_path, number) -> None:
    (tmp_path / "temporary").mkdir()
    with script(tmp_path, ONE_AT_A_TIME, TMPDIR=str(tmp_path / "temporary")) as process:
        assert process.stdout.readline() == b"asked\n"
        assert list((tmp_path / "temporary").iterdir())
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert list((tmp_path / "temporary").iterdir()) == []
