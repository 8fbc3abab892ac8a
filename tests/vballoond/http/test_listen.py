import grp
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.backend_rig import open_descriptors

from vballoond.config.models import HttpSettings
from vballoond.errors import StartError
from vballoond.http.listen import Address, check_http, left_api_socket, open_api_socket, parse_listen
from vballoond.http.tokens import Right


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


def test_a_unix_socket_has_the_mode_and_group_that_are_configured(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    group = grp.getgrgid(os.getgid()).gr_name
    settings = HttpSettings.model_validate({"listen": f"unix:{path}", "socket_mode": "0602", "socket_group": group})
    with ExitStack() as stack:
        open_api_socket(settings, stack)
        assert stat.S_IMODE(path.stat().st_mode) == 0o602
        assert path.stat().st_gid == os.getgid()


def test_a_group_that_there_is_not_is_an_error_of_the_surroundings(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    before = open_descriptors()
    with pytest.raises(StartError, match="there is no group 'nobody-has-it'") as caught, ExitStack() as stack:
        open_api_socket(HttpSettings(listen=f"unix:{path}", socket_group="nobody-has-it"), stack)
    assert caught.value.exit_status == 1
    assert not path.exists()
    assert open_descriptors() == before


def test_the_tokens_are_told_without_listening(tmp_path: Path) -> None:
    for name in ("full", "read"):
        (tmp_path / name).write_text(f"{name} token")
    settings = HttpSettings(listen="0.0.0.0:1", token_file=tmp_path / "full", read_token_file=tmp_path / "read")
    address, tokens = check_http(settings)
    assert address == Address(host="0.0.0.0", port=1)
    assert tokens.right_of("Bearer full token") is Right.ALL
    assert tokens.right_of("Bearer read token") is Right.READ
    (tmp_path / "read").write_text("")
    with pytest.raises(StartError, match=r"http\.read_token_file .* is empty"):
        check_http(settings)


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
    settings = HttpSettings.model_validate({"listen": f"unix:{path}", "socket_mode": "0640"})
    left = left_api_socket(settings, fd)
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as client:
        listener, _ = open_api_socket(settings, stack, left)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # as it is configured by now
        client.connect(str(path))
        listener.accept()[0].close()
    assert not path.exists()
    assert left_api_socket(HttpSettings(listen="127.0.0.1:8750"), socket.socket(socket.AF_UNIX).detach()) is None
    assert open_descriptors() == before
