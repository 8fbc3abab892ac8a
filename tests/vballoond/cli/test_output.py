import sys

import pytest

from vballoond.cli.client import ClientError
from vballoond.cli.output import console, fail_with, print_json


def failed(error: Exception) -> int:
    with pytest.raises(SystemExit) as ended:
        fail_with(error)
    return ended.value.code


def test_an_error_is_a_line_and_the_next_step_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(ClientError("it is gone", "look for it")) == 1
    assert failed(ClientError("it is gone")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["vballoond: it is gone", "  next: look for it", "vballoond: it is gone"]


def test_an_error_of_a_file_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(FileNotFoundError(2, "No such file or directory", "a.png")) == 1
    assert capsys.readouterr().err == "vballoond: a.png: No such file or directory\n"


def test_what_is_a_defect_is_shown_as_one() -> None:
    with pytest.raises(ZeroDivisionError):
        fail_with(ZeroDivisionError())


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    monkeypatch.setenv("COLUMNS", "20")
    assert console().width == 1000


def test_json_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1]})
    assert capsys.readouterr() == ('{\n  "a": [\n    1\n  ]\n}\n', "")
