"""What scripts do, and what comes of it. They are files, as in a directory of policies."""

import textwrap

import pytest
from support.policy_views import a_guest, a_view

from vballoond.errors import PolicyError
from vballoond.policy import PolicySettings, Wish
from vballoond.policy.asking import ask
from vballoond.policy.blame import MAX_CHARACTERS, own_lines
from vballoond.policy.discover import load
from vballoond.policy.view import view_json

VIEW = a_view(a_guest("vm1"), a_guest("vm2"))

HEAD = """\
from vballoond.policy import Plan, Wish


class Script:
    name = "script"

    def plan(self, view, settings):
"""

MUTE = """\
from vballoond.errors import PolicyError
class Mute(PolicyError):
    def __str__(self): raise SystemExit
raise Mute
"""


def a_script(tmp_path, body, head=HEAD):
    path = tmp_path / "script.py"
    path.write_text(head + textwrap.indent(textwrap.dedent(body), "        "))
    return load(path, path.read_bytes())[0]


def refusal(found):
    with pytest.raises(PolicyError) as refused:
        ask(found, VIEW, PolicySettings())
    return str(refused.value)


def test_a_good_script_is_heard(tmp_path):
    found = a_script(tmp_path, "return Plan((Wish('vm1', 4096.0, 'why not'),), memory={'n': 1})")
    plan = ask(found, VIEW, PolicySettings())
    assert (plan.wishes, plan.memory) == ((Wish("vm1", 4096, "why not"),), {"n": 1})


def test_an_error_is_shown_with_the_lines_of_the_script_only(tmp_path):
    found = a_script(tmp_path, "import json\nreturn json.loads('{')")
    report = refusal(found)
    assert report.splitlines()[0] == "policy 'script' raised an error"
    assert f'File "{tmp_path}/script.py", line 9, in plan' in report
    assert "return json.loads('{')" in report
    assert "json.decoder.JSONDecodeError" in report
    assert "json/__init__.py" not in report
    assert "asking.py" not in report


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return None", "policy 'script': plan() returned None, not a Plan"),
        ("return Plan((Wish('vm1', float('nan'), 'x'),))", "is nan, not a number of bytes"),
        ("return Plan((Wish('vm9', 0, 'x'),))", "guest 'vm9'"),
        ("del view.guests[0].memory_bytes", "FrozenInstanceError"),
        ("object.__delattr__(view, 'guests')\nreturn Plan(view.guests)", "AttributeError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("import asyncio\nraise asyncio.CancelledError", "CancelledError"),
        ("class Own(BaseException): pass\nraise Own('x')", "Own: x"),
        ("raise BaseExceptionGroup('several', [SystemExit()])", "several (1 sub-exception)"),
        ("raise MemoryError", "MemoryError"),
        ("del Script.name\nraise ValueError('x')", "policy 'script' raised an error"),
        (MUTE, "policy 'script' raised an error"),
        ("def again(): again()\nagain()", "RecursionError"),
        ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "Mute"),
        ("view.guests[5]", "IndexError: tuple index out of range"),
        ("raise ValueError('\\x1b[31m' + 'x' * 100000)", "ValueError: ?[31mxxx"),
        ("return Plan((Wish('vm1', 1, 'x'),), memory=object())", "memory is not plain JSON data"),
    ],
)
def test_whatever_a_script_does_is_an_error_of_the_policy(tmp_path, body, message):
    report = refusal(a_script(tmp_path, body))
    assert message in report
    assert len(report) < MAX_CHARACTERS + 100


def test_a_script_that_took_its_name_away_is_called_by_its_class(tmp_path):
    found = a_script(tmp_path, "if hasattr(Script, 'name'): del Script.name\nreturn None")
    assert refusal(found).startswith("policy 'script': plan() returned None")
    assert refusal(found).startswith("policy 'Script': plan() returned None")


def test_who_interrupts_is_heard(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ask(a_script(tmp_path, "raise KeyboardInterrupt"), VIEW, PolicySettings())


def test_endless_recursion_is_shown_by_its_innermost_lines(tmp_path):
    body = "def one():\n    other()\ndef other():\n    one()\none()"
    report = refusal(a_script(tmp_path, body))
    assert "RecursionError" in report
    assert report.count("File ") == 10


def test_what_a_script_does_to_its_view_stays_there(tmp_path):
    text = view_json(VIEW)
    found = a_script(tmp_path, "view.memory['x'] = 1\nobject.__delattr__(view, 'guests')\nreturn Plan()")
    assert ask(found, VIEW, PolicySettings()).wishes == ()
    assert view_json(VIEW) == text


def test_each_question_goes_to_a_fresh_instance(tmp_path):
    body = "self.n = getattr(self, 'n', 0) + 1\nreturn Plan((Wish('vm1', self.n, 'count'),))"
    found = a_script(tmp_path, body)
    assert ask(found, VIEW, PolicySettings()) == ask(found, VIEW, PolicySettings())


@pytest.mark.parametrize("raised", [KeyError, SystemExit])
def test_an_error_that_cannot_be_shown_is_named(raised):
    class Broken(Exception):  # noqa: N818
        @property
        def __notes__(self):
            raise raised

    assert "Broken" in own_lines(Broken(), "x.py")
