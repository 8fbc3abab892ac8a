import sqlite3

import pytest
from support.simulation import SMALL, simulated

from vballoond.errors import OperatorError
from vballoond.lab.simulation.chosen_policy import choose
from vballoond.lab.simulation.sweep.job import Job
from vballoond.lab.simulation.sweep.store import open_store

pytestmark = pytest.mark.long


def job(seed: int) -> Job:
    return Job("small", SMALL, choose("shares"), seed)


def test_what_is_kept_is_there_after_the_file_was_closed_and_is_not_missing(tmp_path) -> None:
    path, result = tmp_path / "r.sqlite", simulated()
    with open_store(path) as store:
        assert store.missing([job(1), job(2), job(1)]) == [job(1), job(2)]
        store.put(job(1), result)
    with open_store(path) as store:
        assert store.missing([job(1), job(2)]) == [job(2)]
        assert store.get(job(1).key) == result


def test_measures_are_columns(tmp_path) -> None:
    path, result = tmp_path / "r.sqlite", simulated()
    with open_store(path) as store:
        store.put(job(1), result)
    asked = "SELECT policy, seed, saved_mean_bytes, huge_percent, worst_guest, decisions FROM run"
    row = sqlite3.connect(path).execute(asked).fetchone()
    measures = result.measures
    assert row == ("shares", 1, measures.saved_mean_bytes, None, measures.worst_guest, result.decisions)


def test_a_file_that_is_something_else_is_left_alone(tmp_path) -> None:
    with pytest.raises(OperatorError, match=r"write a name that ends in .sqlite"), open_store(tmp_path / "r.parquet"):
        pass
    text = tmp_path / "text.sqlite"
    text.write_text("this is no database at all, but it is long enough to be looked at as if it were one" * 20)
    before = text.read_bytes()
    with pytest.raises(OperatorError, match="not a database"), open_store(text):
        pass
    assert text.read_bytes() == before
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE run (key TEXT)")
    with pytest.raises(OperatorError, match="something else"), open_store(other):
        pass
    with pytest.raises(OperatorError, match="unable to open"), open_store(tmp_path / "none" / "r.sqlite"):
        pass
