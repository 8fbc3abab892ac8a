import pytest

from vballoond.cli.client import Answer, refusal


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (401, "unauthorized", "--token-file"),
        (403, "read-only-token", "not the one for reading"),
        (403, "foreign-host", "'hosts'"),
        (422, "window-too-large", "--scale auto"),
        (405, "method-not-allowed", "'vballoond restart'"),
        (500, "internal", "its log"),
        (503, "no-statistics", "--interval 2"),
        (503, "no-hinting", ""),
        (409, "of-the-future", ""),
        (400, "bad-request", ""),
    ],
)
def test_a_refusal_comes_with_what_to_do_where_it_is_known(status: int, code: str, step: str) -> None:
    error = refusal(Answer(status, b'{"detail": "no", "code": "%s"}' % code.encode()))
    assert (str(error), error.status, error.code) == ("no", status, code)
    assert step in error.next_step
    assert bool(step) == bool(error.next_step)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"])
def test_a_refusal_without_a_report_names_its_status(body: bytes) -> None:
    assert str(refusal(Answer(502, body))) == "the daemon answered with status 502"
