import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.backend_rig import open_descriptors

from vballoond.config.models import HttpSettings
from vballoond.errors import StartError
from vballoond.http.listen import Address, left_api_socket, open_api_socket, parse_listen, read_token


def has_ipv6_loopback() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8750", Address(host="127.0.0.1", port=8750)),
        ("localhost:0", Address(host="localhost", port=0)),
        ("[::1]:65535", Address(host="[::1]", port=65535)),
        ("unix:/run/api.sock", Address(path=Path("/run/api.sock"))),
        ("unix:api.sock", Address(path=Path("api.sock"))),
    ],
)
def test_an_address_is_a_host_and_port_or_a_path(text: str, address: Address) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "unix:", "8750", ":8750", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:8750", "a:-1"],
)
def test_what_is_no_address_is_an_error_of_the_configuration(text: str) -> None:
    with pytest.raises(StartError, match=r"http\.listen = ") as caught:
        parse_listen(text)
    assert caught.value.exit_status == 2
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "listen",
    [
        "127.0.0.1:0",
        "localhost:0",
        "127.0.0.9:0",
        pytest.param("[::1]:0", marks=pytest.mark.skipif(not has_ipv6_loopback(), reason="this host has no ::1")),
    ],
)
def test_the_api_listens_on_loopback_without_a_token(listen: str) -> None:
    with ExitStack() as stack:
        listener, _ = open_api_socket(HttpSettings(listen=listen), stack)
        with socket.create_connection(listener.getsockname()[:2]):
            pass
        assert listener.gettimeout() == 0


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "host.example:0", "127.0.0.1.example:0"])
def test_the_api_listens_for_other_hosts_only_with_a_token(listen: str) -> None:
    with pytest.raises(StartError, match=r"set http\.token_file") as caught:
        open_api_socket(HttpSettings(listen=listen), ExitStack())
    assert caught.value.exit_status == 2


def test_the_api_listens_for_other_hosts_with_a_token(tmp_path: Path) -> None:
    with ExitStack() as stack:
        _, address = open_api_socket(HttpSettings(listen="0.0.0.0:0", token_file=tmp_path / "token"), stack)
        assert address.host == "0.0.0.0"


def test_a_port_that_is_taken_is_an_error_of_the_surroundings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: it is in use") as caught:
            open_api_socket(HttpSettings(listen=f"127.0.0.1:{port}"), ExitStack())
    assert caught.value.exit_status == 1


def test_an_address_of_another_host_is_an_error_of_the_surroundings(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot listen on") as caught:
        open_api_socket(HttpSettings(listen="192.0.2.1:0", token_file=tmp_path / "token"), ExitStack())
    assert caught.value.exit_status == 1


def test_the_api_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as client:
        _, address = open_api_socket(HttpSettings(listen=f"unix:{path}"), stack)
        client.connect(str(path))
        assert address == Address(path=path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


def test_a_token_is_read_without_white_space_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  secret token\n\n")
    assert read_token(path) == "secret token"
    assert read_token(None) is None


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_token_that_cannot_be_had_is_an_error_of_the_configuration(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartError, match=r"http\.token_file") as caught:
        read_token(path)
    assert caught.value.exit_status == 2
    assert str(path) in str(caught.value)


# The socket that an earlier process left.


def left_tcp(host: str = "127.0.0.1") -> tuple[int, int]:
    """A listening socket as the one descriptor that is left of its process, and its port."""
    with socket.create_server((host, 0)) as listener:
        return os.dup(listener.fileno()), listener.getsockname()[1]


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "127.0.0.1:0", "localhost:{port}"])
def test_a_socket_that_was_left_is_taken_over_where_it_is_the_one_that_is_meant(listen: str) -> None:
    before = open_descriptors()
    fd, port = left_tcp()
    settings = HttpSettings(listen=listen.format(port=port))
    left = left_api_socket(settings, fd)
    assert left is not None
    with ExitStack() as stack, socket.create_connection(("127.0.0.1", port)):
        listener, _ = open_api_socket(settings, stack, left)
        assert listener.getsockname()[1] == port
        assert listener.gettimeout() == 0
        listener.accept()[0].close()
    assert open_descriptors() == before


@pytest.mark.parametrize("listen", ["127.0.0.9:{port}", "127.0.0.1:1", "unix:/nowhere/api.sock"])
def test_a_socket_that_is_not_the_one_that_is_meant_is_closed(listen: str) -> None:
    before = open_descriptors()
    fd, port = left_tcp()
    assert left_api_socket(HttpSettings(listen=listen.format(port=port)), fd) is None
    assert open_descriptors() == before


def test_a_unix_socket_that_was_left_is_taken_over(tmp_path: Path) -> None:
    before = open_descriptors()
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        fd = os.dup(listener.fileno())
    settings = HttpSettings(listen=f"unix:{path}")
    left = left_api_socket(settings, fd)
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as client:
        listener, _ = open_api_socket(settings, stack, left)
        client.connect(str(path))
        listener.accept()[0].close()
    assert not path.exists()
    assert left_api_socket(HttpSettings(listen="127.0.0.1:8750"), socket.socket(socket.AF_UNIX).detach()) is None
    assert open_descriptors() == before
