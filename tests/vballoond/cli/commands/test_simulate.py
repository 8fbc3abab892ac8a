import json
import sys

import pytest
from support.command import Outcome
from support.policy_views import a_guest, a_view
from support.simulation import SMALL
from support.sweeps import TAKE

from vballoond.cli.main import main
from vballoond.errors import PolicyError
from vballoond.lab.simulation import snapshots
from vballoond.lab.simulation.promises import BrokenRuleError
from vballoond.lab.simulation.sweep import here
from vballoond.policy.view import view_json


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process."""
    monkeypatch.setenv("COLUMNS", "500")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["vballoond", "simulate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(ended.value.code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_policies_are_shown_side_by_side(simulate, small) -> None:
    done = simulate("--policy", "static", "--policy", "shares", "--scenario", small, "--jobs", 1)
    assert done.status == 0
    assert done.out.splitlines()[0] == "small: a small host"
    assert done.out.splitlines()[3].split() == ["static", "shares"]
    assert "small, shares, seed 1: done (2 of 2)" in done.err


def test_two_files_of_a_policy_are_two_columns(simulate, small, tmp_path) -> None:
    for size in (4, 8):
        (tmp_path / f"v{size}.py").write_text(TAKE.replace("12", str(size)))
    arguments = [item for size in (4, 8) for item in ("--policy", tmp_path / f"v{size}.py")]
    done = simulate(*arguments, "--scenario", small, "--jobs", 1, "--json")
    assert done.status == 0
    results = json.loads(done.out)["results"]
    assert [result["policy"] for result in results] == [f"take of {tmp_path}/v{size}.py" for size in (4, 8)]
    assert [result["curve"][-1]["target_bytes"] >> 20 for result in results] == [3 * 4, 3 * 8]


def test_a_policy_that_loops_is_a_failure_of_it_and_the_run_is_made(simulate, small, tmp_path) -> None:
    path = tmp_path / "loops.py"
    path.write_text(TAKE.replace("return Plan", "while True: pass\n        return Plan"))
    done = simulate("--policy", path, "--scenario", small, "--time-limit", 0.5)
    assert done.status == 0
    assert "it took longer than 0.5 s, and was killed" in done.out
    assert f'File "{path}", line 6' in done.out
    assert "small, take, seed 1: done, the policy failed 3 times" in done.err


def test_with_json_there_is_json_alone_and_the_same_on_every_run(simulate, small) -> None:
    arguments = ("--policy", "shares", "--scenario", small, "--seed", 3, "--json")
    first, again = simulate(*arguments), simulate(*arguments)
    assert first.out == again.out
    told = json.loads(first.out)
    assert (told["scenario"], told["summary"]) == ("small", "a small host")
    (result,) = told["results"]
    assert (result["policy"], result["seed"], len(result["curve"])) == ("shares", 3, 12)
    assert result["measures"]["orders"] > 0


def test_a_promise_that_is_not_kept_is_told_and_is_a_failure(simulate, small) -> None:
    small.write_text(SMALL + "[promise]\nreserve_kept = true\n")
    done = simulate("--policy", "static", "--scenario", small)
    assert done.status == 1
    assert "vballoond: static: at " in done.err
    assert "below its reserve of 8 MiB" in done.err
    assert "worst guest" in done.out


def test_a_picture_is_drawn(simulate, small, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    done = simulate("--policy", "static", "--scenario", small, "--plot", tmp_path / "p.png")
    assert (done.status, (tmp_path / "p.png").read_bytes()[:4]) == (0, b"\x89PNG")
    assert simulate("--policy", "static", "--scenario", small, "--plot", "p.txt").status == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "odd", "--scenario", "steady"), "no policy 'odd': there are"),
        (("--policy", "static", "--scenario", "odd"), "no scenario 'odd': there are"),
        (("--policy", "static:x=1", "--scenario", "steady"), "x: Extra inputs"),
        (("--policy", "static", "--scenario", "none.jsonl"), "none.jsonl: No such file"),
        (("--scenario", "steady"), "--policy"),
    ],
)
def test_wrong_usage_is_told_with_what_would_be_right(simulate, arguments, says) -> None:
    done = simulate(*arguments)
    assert done.status == 2
    assert says in " ".join(done.err.replace("│", " ").split())
    assert done.out == ""


def test_recorded_views_are_replayed_and_that_is_said_plainly(simulate, tmp_path) -> None:
    path = tmp_path / "live.jsonl"
    path.write_bytes(view_json(a_view(a_guest("a", free=900), total=4096, available=200)) + b"\n")
    done = simulate("--policy", "shares", "--policy", "static", "--scenario", path)
    assert done.status == 0
    assert "whatever was decided before (open loop)" in done.out
    assert "shares: 1 rounds, 1 targets would have been changed" in done.out
    assert "at 1000 s  a: 0 B to 100 MiB: " in done.out
    assert "static: 1 rounds, 0 targets would have been changed" in done.out
    told = json.loads(simulate("--policy", "shares", "--scenario", path, "--json").out)
    assert told["open_loop"] is True
    assert told["policies"]["shares"][0]["decisions"][0]["target_bytes"] == 100 << 20
    assert simulate("--policy", "shares", "--scenario", path, "--plot", tmp_path / "p.png").status == 2


def test_a_replay_that_cannot_be_made_is_told_and_the_others_are(simulate, tmp_path, monkeypatch) -> None:
    true_decide = snapshots.would_decide

    def would_decide(views, one, **more):
        if one.name == "static":
            raise PolicyError("policy static: it does not start")
        return true_decide(views, one, **more)

    monkeypatch.setattr(snapshots, "would_decide", would_decide)
    path = tmp_path / "live.jsonl"
    path.write_bytes(view_json(a_view(a_guest("a", free=900), total=4096, available=200)) + b"\n")
    both = ("--policy", "static", "--policy", "shares", "--scenario", path)
    done = simulate(*both)
    assert (done.status, done.err) == (1, "vballoond: static: policy static: it does not start\n")
    assert "shares: 1 rounds, 1 targets would have been changed" in done.out
    assert list(json.loads(simulate(*both, "--json").out)["policies"]) == ["shares"]
    alone = simulate("--policy", "static", "--scenario", path)
    assert (alone.status, alone.out) == (1, "")


def test_a_change_of_less_than_a_mebibyte_is_seen_in_a_replay(simulate, tmp_path) -> None:
    path, script = tmp_path / "live.jsonl", tmp_path / "take.py"
    script.write_text(TAKE.replace("12 << 20", "600 << 10"))
    short = a_view(a_guest("a", free=900), total=4096, available=20, reserve_bytes=100)
    path.write_bytes(view_json(short) + b"\n")
    assert "at 1000 s  a: 0 B to 600 KiB: " in simulate("--policy", script, "--scenario", path).out


def test_a_run_that_cannot_be_made_is_told(simulate, small, monkeypatch) -> None:
    def run_job(_):
        raise BrokenRuleError("at 10 s: guest vm-1: is below its minimum")

    monkeypatch.setattr(here, "run_job", run_job)
    done = simulate("--policy", "static", "--scenario", small)
    assert done.status == 1
    assert "small, static, seed 1: at 10 s: guest vm-1: is below its minimum" in done.err
    assert done.out == ""


def test_ctrl_c_ends_it(simulate, small, monkeypatch) -> None:
    def run_job(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(here, "run_job", run_job)
    done = simulate("--policy", "static", "--scenario", small)
    assert (done.status, done.err.splitlines()[-1]) == (130, "vballoond: interrupted")
