import pickle

import pytest
from support.policy_views import a_view

from vballoond.errors import OperatorError, PolicyError
from vballoond.lab.simulation.chosen_policy import choose, told_apart
from vballoond.policy import Plan
from vballoond.policy.asking import ask

TWO = """
from vballoond.policy import Plan, Policy, PolicySettings
class First(Policy):
    name = "first"
    class Settings(PolicySettings):
        part: float = 0.5
    def plan(self, view, settings):
        return Plan(memory={"part": settings.part})
class Second(First):
    name = "second"
"""


def test_a_built_in_policy_is_named_with_settings() -> None:
    chosen = choose("watermark:samples=1,pressure_threshold=0.3")
    found, settings = chosen.checked()
    assert (found.policy.name, settings.samples, settings.pressure_threshold) == ("watermark", 1, 0.3)
    assert chosen.label == "watermark:pressure_threshold=0.3,samples=1"
    assert choose("watermark").label == "watermark"


def test_of_a_file_the_source_goes_along(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(TWO)
    chosen = choose(f"{path}#second:part=0.25")
    path.unlink()
    with pickle.loads(pickle.dumps(chosen)).at_work() as (found, settings):
        assert (found.policy.name, found.file) == ("second", str(path))
        assert ask(found, a_view(), settings) == Plan(memory={"part": 0.25})


def test_a_scenarios_settings_stand_behind_those_that_are_given() -> None:
    on = {"watermark": {"samples": 2, "pressure_critical": 0.01}}
    _, settings = choose("watermark:samples=5").on(on).checked()
    assert (settings.samples, settings.pressure_critical) == (5, 0.01)
    assert choose("static").on(on) == choose("static")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "no policy 'nothing': there are available-balance"),
        ("static:x=1", "x: Extra inputs are not permitted"),
        ("watermark:samples", "settings are written as in watermark:"),
        ("watermark:samples=1,samples=2", "each once"),
        ("watermark:samples=" + "[" * 50_000, "samples: Input should be a valid integer"),
        ("watermark:samples=many", "samples: Input should be a valid integer"),
        ("DIR/none.py", "No such file"),
        ("DIR/two.py", "has 2 policies: write DIR/two.py#NAME, with one of first, second"),
        ("DIR/two.py#third", "two.py has no policy 'third': there are first, second"),
    ],
)
def test_what_cannot_be_chosen_is_told(tmp_path, text: str, says: str) -> None:
    (tmp_path / "two.py").write_text(TWO)
    with pytest.raises(OperatorError) as refused:
        choose(text.replace("DIR", str(tmp_path)))
    assert says.replace("DIR", str(tmp_path)) in str(refused.value)


def test_a_file_that_fails_is_told_with_its_own_lines(tmp_path) -> None:
    (tmp_path / "bad.py").write_text("x = 1\nraise RuntimeError('no')\n")
    with pytest.raises(PolicyError, match=r"(?s)bad.py cannot be loaded.*line 2.*RuntimeError: no"):
        choose(str(tmp_path / "bad.py"))


def test_a_file_may_not_have_the_name_of_what_is_built_in_as_in_the_daemon(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(TWO.replace('"first"', '"shares"'))
    with pytest.raises(PolicyError, match=r"policy 'shares' is there already \(built-in\): give this one another name"):
        choose(f"{tmp_path}/mine.py#second")


def test_policies_with_a_name_in_common_are_told_apart_by_their_files(tmp_path) -> None:
    for number in (1, 2):
        (tmp_path / f"v{number}.py").write_text(f"{TWO}# version {number}")
    first, second = (choose(f"{tmp_path}/v{number}.py#first") for number in (1, 2))
    shown = told_apart([first, choose("static"), second, choose("static:")])
    assert [one.label for one in shown] == [f"first of {tmp_path}/v1.py", "static", f"first of {tmp_path}/v2.py"]
    assert told_apart([first])[0].label == "first"
