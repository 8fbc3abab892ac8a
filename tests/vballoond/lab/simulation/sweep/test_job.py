from dataclasses import replace

import pytest
from support.sweeps import file_job, small_jobs

from vballoond.errors import OperatorError
from vballoond.lab.simulation.sweep.job import run_job

pytestmark = pytest.mark.long


def test_another_program_than_the_one_that_asks_makes_no_run() -> None:
    with pytest.raises(OperatorError, match="install the same version on all machines"):
        run_job(replace(small_jobs()[0], program="another"))


def test_a_policy_of_a_file_is_tried_in_a_process_of_its_own_and_decides_the_same_each_time() -> None:
    first, again = run_job(file_job()), run_job(file_job())
    assert first == again
    assert first.measures.orders > 0
    assert first.problems == ()
