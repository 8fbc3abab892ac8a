import json
from pathlib import Path

import pytest

from vballoond.errors import PolicyError
from vballoond.runner.child import GoneError
from vballoond.runner.findings import Findings

OLD, NEW = [1, 1, 1], [2, 2, 2]
LISTED = {"name": "p", "origin": "p.py", "summary": "", "settings_schema": {}}


def looked(**file: object) -> bytes:
    whole = {"path": "p.py", "stamp": OLD, "problem": None, "source": None} | file
    return json.dumps(
        {"policies": [LISTED], "problems": {"p.py": file["problem"]} if file.get("problem") else {}, "files": [whole]}
    ).encode()


@pytest.fixture
def findings() -> Findings:
    return Findings(Path("d"))


def told(findings: Findings) -> list[tuple[object, ...]]:
    """What a process is told of files."""
    question = findings.question()
    assert question.message.head == {"do": "look", "directory": "d"}
    return [(file["stamp"], file["problem"], file["source"]) for file in json.loads(question.message.body)]


async def test_only_what_is_built_in_is_no_question_of_processes(findings: Findings) -> None:
    assert await findings.has_scripts()
    assert not await Findings(None).has_scripts()


def test_the_next_process_is_told_the_source_of_what_could_be_loaded(findings: Findings) -> None:
    findings.take(looked(source="old"))
    assert told(findings) == [(OLD, None, "old")]
    assert findings.known.policies["p"].origin == "p.py"
    assert findings.known.stamps == {"p.py": tuple(OLD)}
    findings.take(looked())  # it says the source of what it was not told only
    assert told(findings) == [(OLD, None, "old")]


def test_a_file_that_is_broken_by_now_keeps_the_source_of_before(findings: Findings) -> None:
    findings.take(looked(source="old"))
    findings.take(looked(stamp=NEW, problem="broken"))
    assert told(findings) == [(NEW, "broken", "old")]
    findings.take(looked(stamp=OLD, source="mended"))
    assert told(findings) == [(OLD, None, "mended")]


def test_a_file_that_ends_its_process_is_passed_over_with_the_source_of_before(findings: Findings) -> None:
    findings.take(looked(source="old"))
    findings.pass_over(GoneError("it hung", "", ("p.py", NEW)), findings.question())
    assert told(findings) == [(NEW, "p.py cannot be loaded: it hung", "old")]


def test_a_source_of_before_that_ends_its_process_is_not_loaded_again(findings: Findings) -> None:
    findings.take(looked(source="old"))
    findings.pass_over(GoneError("it hung", "", ("p.py", OLD)), findings.question())
    assert told(findings) == [(OLD, "p.py cannot be loaded: it hung", None)]


def test_two_processes_that_end_at_one_file_do_not_cost_the_source_of_before(findings: Findings) -> None:
    findings.take(looked(source="old"))
    asked = [findings.question(), findings.question()]
    for question in asked:
        findings.pass_over(GoneError("it hung", "", ("p.py", NEW)), question)
    assert told(findings) == [(NEW, "p.py cannot be loaded: it hung", "old")]


def test_what_two_processes_say_of_one_content_is_told_once(findings: Findings) -> None:
    for stamp, problem, known in ((OLD, "first", "first"), (OLD, "second", "first"), (NEW, "third", "third")):
        findings.take(looked(stamp=stamp, problem=problem))
        assert findings.known.problems == {"p.py": known}
        assert told(findings) == [(stamp, known, None)]


def test_a_long_problem_is_told_alike_however_often_it_is_found(findings: Findings) -> None:
    for _ in range(2):
        findings.take(looked(problem="x" * 9000))
        assert findings.known.problems == {"p.py": "x" * 8000}


@pytest.mark.parametrize("nonsense", [b"", b"[]", b"{}", looked(stamp="x"), looked(path=None)])
def test_nonsense_changes_nothing(findings: Findings, nonsense: bytes) -> None:
    findings.take(looked(source="old"))
    with pytest.raises(PolicyError, match="nonsense"):
        findings.take(nonsense)
    with pytest.raises(PolicyError, match="nonsense: it hung"):
        findings.pass_over(GoneError("it hung", "", ("p.py", "x")), findings.question())
    with pytest.raises(PolicyError, match="cannot be loaded: it hung"):
        findings.pass_over(GoneError("it hung"), findings.question())
    assert told(findings) == [(OLD, None, "old")]
