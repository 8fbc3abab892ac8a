import sqlite3

import pytest
from support.simulation import SMALL, simulated
from support.sweeps import TAKE, file_job

from vballoond.errors import OperatorError
from vballoond.lab.simulation.chosen_policy import choose
from vballoond.lab.simulation.sweep import store as store_module
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


def test_runs_of_before_an_edit_are_told_and_are_told_apart_by_a_column(tmp_path) -> None:
    path, result = tmp_path / "r.sqlite", simulated()
    before, now = file_job(), file_job(TAKE.replace("12", "10"))
    edited = Job("small", SMALL.replace("0.5", "0.6"), choose("shares"), 1)
    with open_store(path) as store:
        store.put(before, result)
        store.put(job(1), result)
        assert store.others([before, job(2)]) == []
        (policy,) = store.others([now])
        assert "1 of its runs are of policy 'take' with another content" in policy
        assert f"policy_content, which is '{now.policy_content}' now" in policy
        (scenario,) = store.others([edited])
        assert "2 of its runs are of scenario 'small' with another content" in scenario
        assert store.missing([now, edited, before]) == [now, edited]
    asked = "SELECT policy, policy_content, scenario_content FROM run ORDER BY policy"
    rows = sqlite3.connect(path).execute(asked).fetchall()
    assert rows == [("shares", "", job(1).scenario_content), ("take", before.policy_content, before.scenario_content)]


def test_results_of_another_program_are_left_alone(tmp_path, monkeypatch) -> None:
    path, result = tmp_path / "r.sqlite", simulated()
    with open_store(path) as store:
        store.put(job(1), result)
    before = path.read_bytes()
    monkeypatch.setattr(store_module, "program", lambda: "another")
    with pytest.raises(OperatorError, match=r"another version of this program .*; name a new file"), open_store(path):
        pass
    assert path.read_bytes() == before


def test_a_file_whose_columns_are_others_is_refused_before_anything_runs(tmp_path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE run (key TEXT)")
        database.execute(f"PRAGMA user_version = {store_module.FORMAT}")
    with pytest.raises(OperatorError, match="another version"), open_store(path):
        pass


def test_two_sweeps_can_write_to_one_file(tmp_path) -> None:
    path, result = tmp_path / "r.sqlite", simulated()
    with open_store(path) as first, open_store(path) as second:
        first.put(job(1), result)
        second.put(job(1), result)
        second.put(job(2), result)
        assert first.missing([job(1), job(2), job(3)]) == [job(3)]


def test_two_sweeps_can_make_one_file_at_the_same_time(tmp_path, monkeypatch) -> None:
    path, result, connect, refused = tmp_path / "r.sqlite", simulated(), sqlite3.connect, []

    class Meddled(sqlite3.Connection):
        """Amid making the file, another sweep begins to."""

        def execute(self, sql: str, *values):
            answer = super().execute(sql, *values)
            if "user_version" in sql and not refused:
                with pytest.raises(OperatorError, match="locked") as error, open_store(path):
                    pass
                refused.append(error)
            return answer

    monkeypatch.setattr(store_module, "_PATIENCE_S", 0)  # else the other one would wait for this one
    monkeypatch.setattr(store_module.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Meddled))
    with open_store(path) as store:
        store.put(job(1), result)
        assert store.missing([job(1)]) == []
    assert len(refused) == 1
