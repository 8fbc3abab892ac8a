from pathlib import Path

import pytest
from support.workload_guest import WorkloadGuest

from guest_driver.mm.zone import ZoneCount
from guest_driver.workload.loads import Build, FileCache
from guest_driver.workload.scenario import KINDS, ScenarioError, Scheduled, load_scenario, shipped_scenarios


def written(directory: Path, text: str, name: str = "scenario.toml") -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", shipped_scenarios())
def test_what_is_shipped_runs(name: str) -> None:
    with WorkloadGuest(mib=256) as made:
        free = made.guest.mm.counts[ZoneCount.FREE]
        made.run(40.0, load_scenario(name))
        assert made.guest.mm.counts[ZoneCount.FREE] < free


def test_a_toml_file_lists_loads(tmp_path: Path) -> None:
    scenario = load_scenario(
        written(tmp_path, '[[load]]\nkind = "build"\njobs = 4\nstart_s = 5\n[[load]]\nkind = "file-cache"\n')
    )
    assert scenario.name == "scenario"
    assert scenario.loads == (Scheduled(Build(4), 5.0), Scheduled(FileCache()))


def test_loads_begin_and_end_when_they_are_to(tmp_path: Path) -> None:
    text = '[[load]]\nkind = "anonymous"\nmib = 8\ngrows_for_s = 0\nstart_s = 5\nstop_s = 10\n'
    with WorkloadGuest() as made:
        made.run(4.9, load_scenario(written(tmp_path, text)))
        assert made.mib(ZoneCount.ANON) == 0
        made.run(6.0)
        assert made.mib(ZoneCount.ANON) == 8
        made.run(10.1)
        assert made.mib(ZoneCount.ANON) == 0


def test_a_python_file_is_a_load(tmp_path: Path) -> None:
    text = "def run(machine):\n    while True:\n        machine.read_files(mib=2)\n        yield 1.0\n"
    with WorkloadGuest() as made:
        made.run(2.5, load_scenario(written(tmp_path, text, "mine.py")))
        assert made.mib(ZoneCount.FILE) == 6


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it takes [[load]] tables"),
        ("load = 3", "it takes [[load]] tables"),
        ("load = [3]", "it takes [[load]] tables"),
        ('[[load]]\nkind = "idle"\n[other]\n', "it takes [[load]] tables"),
        ("[[load]", "scenario.toml: "),
        ("[[load]]\njobs = 4\n", "kind None is none of anonymous, build"),
        ('[[load]]\nkind = "storm"\n', "kind 'storm' is none of anonymous, build"),
        ('[[load]]\nkind = ["build"]\n', "is none of anonymous, build"),
        ('[[load]]\nkind = "build"\njob = 4\n', "unknown key job; it takes jobs, start_s, stop_s"),
        ('[[load]]\nkind = "build"\njobs = "many"\n', "jobs: Input should be a valid integer"),
        ('[[load]]\nkind = "build"\njobs = -1\n', "jobs must not be below 0"),
        ('[[load]]\nkind = "idle"\nevery_s = nan\n', "every_s must be a number"),
        ('[[load]]\nkind = "idle"\nevery_s = 0\n', "every_s must be above 0"),
        ('[[load]]\nkind = "build"\nstart_s = -1\n', "start_s must not be below 0"),
        ('[[load]]\nkind = "build"\nstart_s = 5\nstop_s = 5\n', "stop_s must be after start_s"),
        ('[[load]]\nkind = "job"\nmin_mib = 9\nmax_mib = 8\n', "max_mib must not be below min_mib"),
    ],
)
def test_a_wrong_file_is_refused_with_what_would_be_right(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load_scenario(written(tmp_path, text))
    assert says in str(refused.value)
    assert "scenario.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "it has no function run(machine)"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
    ],
)
def test_a_wrong_script_is_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says.replace("(", r"\(").replace(")", r"\)")):
        load_scenario(written(tmp_path, text, "mine.py"))


@pytest.mark.parametrize("name", ["/nowhere/at-all.toml", "/nowhere/at-all.py"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ScenarioError, match="at-all"):
        load_scenario(name)


def test_an_unknown_name_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ScenarioError, match="no scenario 'storm': there are batch, build"):
        load_scenario("storm")


def test_each_kind_can_be_written() -> None:
    for kind in KINDS.values():
        assert kind()
