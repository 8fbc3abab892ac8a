from pathlib import Path

import pytest

from vballoond.cli.added_balloon import read_balloon_file
from vballoond.cli.client import ClientError

CONFIGURATION = """
[http]
listen = "unix:api.sock"
[[balloon]]
name = "vm1"
memory = "1GiB"
[[balloon]]
name = "vm2"
memory = "2GiB"
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "vm.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ('memory = "1GiB"', "vm.toml"),
        ('name = "vm1"\nmemory = "1GiB"', "vm"),
        ('[[balloon]]\nname = "vm1"\nmemory = "1GiB"', "vm.toml"),
        ('[[balloon]]\nmemory = "1GiB"', "vm.toml"),
        (CONFIGURATION, "vballoond.toml"),
        ('{"memory": "1GiB"}', "vm.json"),
        ('{"name": "vm1", "memory": "1GiB"}', "vm.json"),
    ],
)
def test_a_balloon_is_read_however_it_is_written(write, text: str, file: str) -> None:
    assert read_balloon_file(write(text, file), "vm1") == {"memory": "1GiB"}


@pytest.mark.parametrize(
    ("text", "file", "message"),
    [
        ("memory = 1GiB", "vm.toml", "is no TOML"),
        ("{", "vm.json", "is no JSON"),
        ("[]", "vm.json", "a balloon is an object"),
        ('name = "vm9"', "vm.toml", "this is balloon 'vm9', not 'vm1'"),
        ("balloon = 7", "vm.toml", "'balloon' is a list of tables"),
        ("balloon = [7]", "vm.toml", "'balloon' is a list of tables"),
        ("balloon = []", "vm.toml", "has no balloon 'vm1'; it has none"),
        ('[[balloon]]\nname = "a"\n[[balloon]]\nname = "b"', "vm.toml", "has no balloon 'vm1'; it has 'a', 'b'"),
    ],
)
def test_what_is_no_balloon_is_an_error_that_names_the_file(write, text: str, file: str, message: str) -> None:
    path = write(text, file)
    with pytest.raises(ClientError) as failed:
        read_balloon_file(path, "vm1")
    assert str(path) in str(failed.value)
    assert message in str(failed.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"vm\.toml: No such file"):
        read_balloon_file(tmp_path / "vm.toml", "vm1")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vm.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ClientError, match="is no TOML"):
        read_balloon_file(path, "vm1")
