import contextlib
import signal
import sqlite3
import sys

import pytest
from support.command import Outcome
from support.simulation import SMALL
from support.sweeps import TAKE

from vballoond.cli.main import main
from vballoond.lab.simulation.sweep import here


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path):
    """Runs the command in this process, over a small scenario into a file."""
    monkeypatch.setenv("COLUMNS", "500")
    (tmp_path / "small.toml").write_text(SMALL)

    def run(*arguments: object, out="r.sqlite") -> Outcome:
        where = ("--scenario", tmp_path / "small.toml", "--out", tmp_path / out, "--jobs", 1)
        monkeypatch.setattr(sys, "argv", ["vballoond", "sweep", *map(str, where), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(ended.value.code or 0, *capsys.readouterr())

    return run


def rows(tmp_path) -> list:
    asked = "SELECT policy, settings, seed FROM run ORDER BY settings, seed"
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as database:
        return database.execute(asked).fetchall()


def test_all_runs_are_in_the_file_and_what_is_there_is_not_run_again(sweep, tmp_path) -> None:
    first = sweep("--policy", "watermark", "--set", "samples=1,9", "--seeds", "1-2")
    assert first.status == 0
    assert "4 runs, 0 of them are in" in first.err
    assert rows(tmp_path) == [("watermark", f'{{"samples": {n}}}', seed) for n in (1, 9) for seed in (1, 2)]
    again = sweep("--policy", "watermark", "--set", "samples=1,9", "--seeds", "1-3")
    assert "6 runs, 4 of them are in" in again.err
    assert again.err.count(": done (") == 2
    assert "0 of them" not in sweep("--policy", "watermark:samples=1", "--seeds", "3").err


def test_a_sweep_that_is_cut_short_keeps_what_it_has_and_goes_on(sweep, tmp_path, monkeypatch) -> None:
    true_run, made = here.run_job, []

    def run_job(job):
        made.append(job.seed)
        if len(made) == 2:
            raise KeyboardInterrupt
        return true_run(job)

    monkeypatch.setattr(here, "run_job", run_job)
    cut = sweep("--policy", "static", "--seeds", "1-3")
    assert cut.status == 130
    assert "the same command goes on with what is missing" in cut.err
    assert [seed for _, _, seed in rows(tmp_path)] == [1]
    assert sweep("--policy", "static", "--seeds", "1-3").status == 0
    assert [seed for _, _, seed in rows(tmp_path)] == [1, 2, 3]
    assert made == [1, 2, 2, 3]


def test_a_run_that_fails_is_told_and_stops_no_other(sweep, tmp_path, monkeypatch) -> None:
    true_run = here.run_job

    def run_job(job):
        if job.seed == 1:
            raise OSError(12, "Cannot allocate memory")
        return true_run(job)

    monkeypatch.setattr(here, "run_job", run_job)
    done = sweep("--policy", "static", "--seeds", "1-2")
    assert done.status == 1
    assert "small, static, seed 1: [Errno 12] Cannot allocate memory" in done.err
    assert [seed for _, _, seed in rows(tmp_path)] == [2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "odd"), "no policy 'odd'"),
        (("--policy", "static", "--seeds", "x"), "write such as 1-20"),
        (("--policy", "static", "--set", "samples"), "write key=a,b,c"),
        (("--policy", "static", "--scenario", "odd"), "no scenario 'odd'"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(sweep, arguments, says, tmp_path) -> None:
    done = sweep(*arguments)
    assert (done.status, done.out) == (2, "")
    assert says in done.err
    assert not (tmp_path / "r.sqlite").exists()


def test_results_go_to_sqlite_only(sweep) -> None:
    done = sweep("--policy", "static", out="r.parquet")
    assert done.status == 2
    assert "write a name that ends in .sqlite" in done.err


def test_a_cluster_that_is_not_there_is_told(sweep, monkeypatch) -> None:
    on_dask = pytest.importorskip("vballoond.lab.simulation.sweep.on_dask")
    monkeypatch.setattr(on_dask, "_CONNECT_S", 0.5)
    done = sweep("--policy", "static", "--scheduler", "tcp://127.0.0.1:1")
    assert done.status == 1
    assert "no Dask scheduler at tcp://127.0.0.1:1" in done.err


def test_without_dask_it_is_said_what_to_install(sweep, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = sweep("--policy", "static", "--scheduler", "tcp://127.0.0.1:1")
    assert done.status == 1
    assert "install vballoond with its extra 'sweep'" in done.err


def test_a_run_whose_policy_ran_out_of_time_is_tried_again(sweep, tmp_path) -> None:
    path, now = tmp_path / "now.py", "view.now_s > 60"
    path.write_text(TAKE.replace("return Plan", f"while {now}: pass\n        return Plan"))
    for _ in range(2):
        late = sweep("--policy", path, "--time-limit", 0.3)
        assert late.status == 1
        assert "1 runs, 0 of them are in" in late.err
        assert "small, take, seed 1: the policy had no answer within 0.3 s 3 times" in late.err
        assert "--time-limit gives it longer" in late.err
    assert rows(tmp_path) == []


def test_recorded_views_are_no_scenario_of_a_sweep(sweep, tmp_path) -> None:
    done = sweep("--policy", "static", "--scenario", tmp_path / "live.jsonl")
    assert done.status == 2
    assert "only 'vballoond simulate' takes recorded views" in " ".join(done.err.replace("│", " ").split())


def test_settings_that_may_be_meant_for_another_policy_are_told(sweep, tmp_path) -> None:
    (tmp_path / "small.toml").write_text(SMALL + "[settings.shars]\nx = 1\n")
    done = sweep("--policy", "shares")
    assert done.status == 0
    assert "it has settings of 'shars', which is not tried, and may be meant for 'shares'" in done.err


def test_a_sweep_that_is_told_to_end_keeps_what_it_has(sweep, tmp_path, monkeypatch) -> None:
    true_run = here.run_job

    def run_job(job):
        if job.seed == 2:
            signal.raise_signal(signal.SIGTERM)
        return true_run(job)

    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setattr(here, "run_job", run_job)
    try:
        assert sweep("--policy", "static", "--seeds", "1-3").status == 128 + signal.SIGTERM
    finally:
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert [seed for _, _, seed in rows(tmp_path)] == [1]
