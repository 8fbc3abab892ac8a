import os
from pathlib import Path

import pytest

from vballoond.config.load import load_settings
from vballoond.config.models import Settings, embedded_default
from vballoond.errors import StateError
from vballoond.state.settings_file import make_settings_file, read_settings_file

EVERYTHING = """
[http]
listen = "unix:api.sock"
hosts = ["a.example"]
token_file = "token"
[state]
directory = "state"
[log]
level = "debug"
[[balloon]]
name = "demo"
transport = "in-process"
memory = "1.1GiB"
workload = "load.toml"
interface = "2012"
min = "3KiB"
[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
socket_mode = "0660"
socket_group = "kvm"
ring = "packed"
features = []
stats_interval_s = 0.25
discard = false
require_sealed_memory = true
max = "2.5GiB"
"""


def read_back(settings: Settings) -> Settings:
    fd = make_settings_file(settings)
    try:
        return read_settings_file(fd, Settings)
    finally:
        os.close(fd)


def test_a_configuration_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "vballoond.toml").write_text(EVERYTHING)
    settings = load_settings(tmp_path / "vballoond.toml")
    assert read_back(settings) == settings
    assert read_back(embedded_default()) == embedded_default()
    assert read_back(Settings()) == Settings()


def test_nobody_can_change_the_file() -> None:
    fd = make_settings_file(Settings())
    for change in (lambda: os.pwrite(fd, b"x", 0), lambda: os.ftruncate(fd, 0), lambda: os.ftruncate(fd, 9999)):
        with pytest.raises(PermissionError):
            change()
    os.close(fd)


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"unknown": 1}', b'{"balloon": [{"name": "x"}]}'])
def test_what_is_no_configuration_is_an_error(text: bytes) -> None:
    fd = os.memfd_create("x")
    os.write(fd, text)
    with pytest.raises(StateError, match="the settings that were kept"):
        read_settings_file(fd, Settings)
    os.close(fd)


def test_what_is_no_file_is_an_error() -> None:
    reading, writing = os.pipe()
    with pytest.raises(StateError):
        read_settings_file(reading, Settings)
    os.close(reading)
    os.close(writing)
