import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.command import Outcome, environment
from support.highalloc import command, make_result, stand_in

from vballoond.cli.experiment import SettingName
from vballoond.cli.main import main
from vballoond.lab.highalloc import parallel
from vballoond.lab.highalloc.setting import SETTINGS

pytestmark = pytest.mark.long

TESTS = Path(__file__).parents[2]
Here = Callable[..., Outcome]


@pytest.fixture
def use_run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts another run in the place of the true one."""

    def use(run: str = "fake_run", **more: str) -> None:
        monkeypatch.setitem(sys.modules, "vballoond.lab.highalloc.run", stand_in(run, **more))

    return use


@pytest.fixture
def here(use_run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Runs the experiment's command in this process, with runs that are drawn and not worked out."""
    use_run()
    monkeypatch.setenv("COLUMNS", "500")

    def invoke(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["vballoond", "experiment", "highalloc", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(ended.value.code or 0, *capsys.readouterr())

    return invoke


@pytest.fixture
def asked(here: Here, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple]:
    """What runs are made for a command: the setting, the seeds in order, how many at a time."""

    def ask(*arguments: object) -> tuple:
        asked_for = []

        def run_all(setting, jobs, run, *, processes, observer):
            del run, observer
            asked_for.extend((setting, [job.seed for job in jobs[::2]], processes))
            return [make_result(job.seed, job.balloon_compaction) for job in jobs]

        monkeypatch.setattr(parallel, "run_all", run_all)
        assert here(*arguments).status == 0
        return tuple(asked_for)

    return ask


@pytest.fixture
def nothing_runs(use_run) -> None:
    """Any run is a failure, which would leave its words."""
    use_run("dying_run", warm_up="interrupted_warm_up", how="raised")


def test_five_seeds_of_v11_on_all_cpus_unless_told_otherwise(asked) -> None:
    assert asked() == (SETTINGS["v11"], [1, 2, 3, 4, 5], len(os.sched_getaffinity(0)))


def test_what_is_run_is_as_told(asked) -> None:
    assert asked("--seeds", 2, "--setting", "v10", "--jobs", 7) == (SETTINGS["v10"], [1, 2], 7)
    assert asked("--seed", 7)[1] == [7]
    assert asked("--seed", 0)[1] == [0]


def test_every_setting_can_be_chosen() -> None:
    assert [name.value for name in SettingName] == list(SETTINGS)


def test_a_table_is_printed_and_all_else_is_on_standard_error(here: Here) -> None:
    done = here("--seeds", 2)
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("stress-highalloc v11: ")
    assert [line for line in lines if line.startswith(("Pass 1 %", "Pass 2 %", "while Rested %"))]
    said = done.err.splitlines()
    assert said[0].startswith("preparing the modelled guest; its first use on a machine compiles it")
    assert sorted(line.split(":")[0] for line in said[1:]) == [
        *("seed 1, clean", "seed 1, patched"),
        *("seed 2, clean", "seed 2, patched"),
    ]


def test_json_stands_alone_on_standard_output(here: Here) -> None:
    done = here("--seeds", 2, "--json", "--jobs", 3)
    assert done.status == 0
    answer = json.loads(done.out)
    assert list(answer) == ["experiment", "guest_mib", "seeds", "rows", "runs"]
    assert (answer["experiment"], answer["guest_mib"], answer["seeds"]) == ("highalloc", 4096, [1, 2])
    assert [(run["seed"], run["balloon_compaction"]) for run in answer["runs"]] == [
        *((1, False), (1, True)),
        *((2, False), (2, True)),
    ]
    assert answer["runs"][3]["counters"]["compact_stall"] == 502


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", 2, "--seed", 2], "give --seeds or --seed, not both"),
        (["--seeds", 0], "--seeds"),
        (["--seed", -1], "--seed"),
        (["--jobs", 0], "--jobs"),
        (["--setting", "v12"], "v11"),
        (["--plot", "why.gif"], "why.gif must end in .pdf, .png, .svg"),
        (["--plot", "why"], "why must end in .pdf, .png, .svg"),
        (["extra"], "extra"),
    ],
)
@pytest.mark.usefixtures("nothing_runs")
def test_wrong_usage_is_told_before_anything_runs(here: Here, arguments: list[object], said: str) -> None:
    wrong = here(*arguments)
    assert (wrong.status, wrong.out) == (2, "")
    assert said in wrong.err
    assert "preparing" not in wrong.err


def test_an_experiment_must_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["vballoond", "experiment", "lowalloc"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "No such command 'lowalloc'" in capsys.readouterr().err


def test_a_picture_is_drawn(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "why.png"
    done = here("--seed", 1, "--plot", path, "--json")
    assert done.status == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert done.err.endswith(f"drawn: {path}\n")
    assert json.loads(done.out)["seeds"] == [1]


def test_a_picture_that_cannot_be_written_is_told_before_anything_runs(here: Here, tmp_path: Path) -> None:
    (tmp_path / "directory.png").mkdir()
    for path, said in (("missing/why.png", "No such directory"), ("directory.png", "Is a directory")):
        failed = here("--plot", tmp_path / path)
        assert (failed.status, failed.out, failed.err) == (1, "", f"vballoond: {tmp_path / path}: {said}\n")


def test_a_picture_that_may_not_be_written_is_told_before_anything_runs(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda where, how: not (Path(where) == tmp_path and how == os.W_OK))
    failed = here("--plot", tmp_path / "why.png")
    assert (failed.status, failed.out) == (1, "")
    assert failed.err == f"vballoond: {tmp_path}/why.png: Permission denied\n"


def test_without_matplotlib_a_picture_is_refused_before_anything_runs(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    failed = here("--plot", tmp_path / "why.png")
    assert (failed.status, failed.out) == (1, "")
    assert failed.err == (
        "vballoond: --plot needs matplotlib, which is not installed: install vballoond with its extra 'plot'\n"
    )


def test_an_effect_that_is_large_enough_passes_the_check(here: Here) -> None:
    done = here("--seeds", 2, "--check")
    assert done.status == 0
    assert done.err.endswith("balloon compaction helps as much as it must\n")


def test_an_effect_that_is_too_small_fails_the_check(here: Here, use_run) -> None:
    use_run("telling_run")
    failed = here("--seed", 1, "--check")
    assert failed.status == 1
    assert failed.out.startswith("stress-highalloc")
    assert failed.err.splitlines()[-1] == (
        "vballoond: the experiment does not show what it must. "
        "Pass 1: what balloon compaction adds is +0.0 points, and must be +3 at least; "
        "Pass 2: what balloon compaction adds is +0.0 points, and must be +5 at least"
    )


def test_nothing_is_checked_unless_asked(here: Here, use_run) -> None:
    use_run("telling_run")
    assert here("--seed", 1).status == 0


def test_a_run_that_dies_is_a_failure_that_names_its_seed(here: Here, use_run) -> None:
    use_run("dying_run", how="killed")
    failed = here("--seeds", 3, "--json")
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.splitlines()[-1] == "vballoond: the run with seed 2, patched died: killed by signal 9 (Killed)"


def test_an_interrupt_while_compiling_ends_it(here: Here, use_run) -> None:
    use_run("fake_run", warm_up="interrupted_warm_up")
    ended = here("--seed", 1)
    assert (ended.status, ended.out) == (130, "")
    assert ended.err.splitlines()[1:] == ["vballoond: interrupted"]


@asynccontextmanager
async def started(run: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command in a process group of its own, as a shell starts it."""
    program = f"from {command.__module__} import command; command('{run}')"
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "experiment", "highalloc", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(PYTHONPATH=f"{TESTS}:{TESTS.parent}"),
        start_new_session=True,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            os.killpg(running.pid, signal.SIGKILL)
        await running.communicate()


async def test_ctrl_c_reaches_no_worker_not_even_the_first_while_it_starts() -> None:
    async with started("telling_run", "--seed", "1", "--json") as running:
        out, _ = await running.communicate()
    assert [run["counters"]["sigint_blocked_at_import"] for run in json.loads(out)["runs"]] == [True, True]


async def test_ctrl_c_ends_all_processes_at_once_without_a_traceback() -> None:
    async with started("endless_run", "--jobs", "2") as running:
        for _ in range(3):
            assert await running.stderr.readline()  # both are at it
        os.killpg(running.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            out, err = await running.communicate()  # at the end of what any of them has open
    assert running.returncode == 130
    assert (out, err.decode()) == (b"", "vballoond: interrupted\n")


def test_other_commands_do_not_import_what_only_experiments_need() -> None:
    program = (
        "import sys; from vballoond.cli.main import main; sys.argv = ['vballoond', 'list', '--api', 'none']\n"
        "try: main()\n"
        "except SystemExit: print(*{'numba', 'numpy', 'matplotlib', 'guest_driver'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_help_names_what_can_be_given(here: Here) -> None:
    text = here("--help").out
    for option in ("--seeds", "--seed", "--setting", "--jobs", "--plot", "--check", "--json"):
        assert f" {option} " in text
