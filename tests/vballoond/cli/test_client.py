from pathlib import Path

import pytest

from vballoond.cli.client import Answer, Client, ClientError, balloon_path, read_token_file


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("demo", "/v1/balloons/demo"),
        ("a.b-c_d", "/v1/balloons/a.b-c_d"),
        ("a/../b", "/v1/balloons/a%2F..%2Fb"),
        ("x?y#z", "/v1/balloons/x%3Fy%23z"),
        ("dé mo", "/v1/balloons/d%C3%A9%20mo"),
    ],
)
def test_a_name_stays_one_part_of_the_path(name: str, path: str) -> None:
    assert balloon_path(name) == path
    assert balloon_path(name, "/frames?format=png") == f"{path}/frames?format=png"


@pytest.mark.parametrize(
    "api", ["", "h:1", "http://h", "http://", "https://h:1", "http://h:x", "http://h:99999", "ftp:"]
)
def test_what_is_no_address_is_an_error_that_says_what_would_be(api: str) -> None:
    with pytest.raises(ClientError, match=r"write http://HOST:PORT or unix:/path/to/api\.sock"):
        Client(api).get("/")


@pytest.mark.parametrize("api", ["unix:/no/such/socket", "unix:", "unix:" + "x" * 200, "http://127.0.0.1:0"])
def test_whoever_cannot_be_reached_is_an_error(api: str) -> None:
    with pytest.raises(ClientError, match="no vballoond answers at"):
        Client(api).get("/")


def test_what_is_no_json_is_an_error() -> None:
    assert Answer(200, b'{"a": 1}').json() == {"a": 1}
    with pytest.raises(ClientError, match="is not vballoond"):
        Answer(200, b"<html>").json()


def test_a_token_is_read_without_white_space_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" secret \n")
    assert read_token_file(path) == "secret"
    assert read_token_file(None) is None


def test_a_token_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="cannot read the token file"):
        read_token_file(tmp_path / "missing")
