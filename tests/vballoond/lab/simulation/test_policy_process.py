import tempfile
from dataclasses import replace

import pytest
from support.policy_views import a_view
from support.sweeps import TAKE

from vballoond.errors import OperatorError, PolicyError
from vballoond.lab.simulation.chosen_policy import ChosenPolicy
from vballoond.lab.simulation.policy_process import PolicyProcess
from vballoond.lab.simulation.snapshots import would_decide
from vballoond.policy.asking import ask

pytestmark = pytest.mark.long


def script(body: str) -> ChosenPolicy:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    source = (
        "from vballoond.policy import Plan, Policy\n"
        f"class Mine(Policy):\n    name = 'mine'\n    def plan(self, view, settings):\n{lines}\n"
    )
    return ChosenPolicy("mine", file="dir/mine.py", source=source)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("while True:\n    pass", "it took longer than 0.5 s, and was killed"),
        (
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            "it took longer than 0.5 s",
        ),
        ("return pow(7, 10**9)", "it took longer than 0.5 s"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os._exit(3)", "its process ended by itself, with status 3"),
        ("import subprocess; subprocess.Popen(['true'])", "a policy may not run a program"),
    ],
)
def test_whatever_a_script_does_is_a_failure_of_it_and_the_next_round_is_made(body: str, says: str) -> None:
    views = [a_view(), replace(a_view(), now_s=2000.0)]
    told = would_decide(views, script(body), time_limit_s=0.5)
    assert len(told) == 2
    for item in told:
        assert says in item.problem
        assert item.problem.startswith("policy 'mine': ")
        assert item.problem.count("policy 'mine'") == 1


def test_a_failure_names_the_lines_of_the_file_that_the_source_is_from() -> None:
    (told,) = would_decide([a_view()], script("while True:\n    pass"), time_limit_s=0.5)
    assert '  File "dir/mine.py", line ' in told.problem
    assert tempfile.gettempdir() not in told.problem


def test_what_a_script_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    (told,) = would_decide([a_view()], script("print('hello')\nreturn Plan()"))
    assert told.problem is None
    assert "hello" not in "".join(capfd.readouterr())


def test_a_file_that_loops_while_it_is_loaded_is_told() -> None:
    with (
        PolicyProcess("dir/loops.py", "while True: pass", 0.5) as process,
        pytest.raises(PolicyError, match=r"(?s)dir/loops.py: loops.py cannot be loaded: it took longer.*dir/loops.py"),
    ):
        process.names()


def test_names_that_a_directory_of_policies_passes_over_are_taken_where_they_are_named() -> None:
    with PolicyProcess("_mine.py", TAKE, 10) as process:
        assert process.names() == ["take"]


def test_nothing_is_left_behind(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with script("return Plan()").at_work() as (found, settings):
        assert len(list(tmp_path.iterdir())) == 1
        ask(found, a_view(), settings)
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_there_is_what_is_built_in() -> None:
    with (
        PolicyProcess("", None, 10) as process,
        pytest.raises(OperatorError, match="there is no policy 'odd': there are"),
    ):
        process.settle("odd", {})
