import grp
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.backend_rig import open_descriptors

from vballoond.errors import StartError
from vballoond.unix_socket import UnixListener

ANY_GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vm1.sock"


@contextmanager
def listening(path: Path, mode: int, group: str | None = None) -> Iterator[UnixListener]:
    listener = UnixListener(path, mode=mode, group=group)
    try:
        yield listener
    finally:
        listener.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_socket_has_the_mode_that_it_is_given(path: Path, mode: int) -> None:
    with listening(path, mode):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert mode_of(path) == mode


def test_a_socket_has_the_group_that_it_is_given(path: Path) -> None:
    with listening(path, 0o660, ANY_GROUP):
        assert path.stat().st_gid == os.getgid()


def test_an_unknown_group_is_an_error_and_leaves_no_socket(path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(StartError, match="there is no group 'no-such-group'") as caught:
        UnixListener(path, mode=0o660, group="no-such-group")
    assert caught.value.exit_status == 1
    assert str(path) in str(caught.value)
    assert not path.exists()
    assert open_descriptors() == before


def test_a_socket_that_nobody_listens_on_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with listening(path, 0o600), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert mode_of(path) == 0o600


def test_a_socket_that_somebody_listens_on_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        before = open_descriptors()
        with pytest.raises(StartError, match="is in use: another process listens there") as caught:
            UnixListener(path, mode=0o600)
        assert caught.value.exit_status == 1
        assert open_descriptors() == before
        other.accept()[0].close()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_what_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "dangling link":
            path.symlink_to("nowhere")
    before = path.lstat()
    with pytest.raises(StartError, match="is not a socket") as caught:
        UnixListener(path, mode=0o600)
    assert caught.value.exit_status == 1
    assert path.lstat() == before


@pytest.mark.parametrize("name", ["missing/vm1.sock", "x" * 120])
def test_a_path_that_no_socket_can_have_is_an_error(tmp_path: Path, name: str) -> None:
    before = open_descriptors()
    with pytest.raises(StartError, match="cannot listen on socket") as caught:
        UnixListener(tmp_path / name, mode=0o600)
    assert caught.value.exit_status == 1
    assert open_descriptors() == before


def test_closing_removes_the_socket_but_not_one_that_took_its_place(path: Path) -> None:
    with listening(path, 0o600):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"
    path.unlink()
    with listening(path, 0o600):
        pass
    assert not path.exists()


# A socket that an earlier process left.


def left_at(path: Path) -> int:
    """A listening socket at ``path``, as the one descriptor that is left of its process."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        return os.dup(listener.fileno())


def accepts(listener: UnixListener, path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        connection, _ = listener.socket.accept()
        connection.close()
    return True


def test_a_socket_that_was_left_is_taken_over_with_those_that_wait_there(path: Path) -> None:
    before = open_descriptors()
    left = left_at(path)
    inode = path.stat().st_ino
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(path))
        listener = UnixListener(path, mode=0o600, left=left)
        assert listener.taken_over
        assert path.stat().st_ino == inode
        assert listener.socket.gettimeout() == 0
        listener.socket.accept()[0].close()
    assert accepts(listener, path)
    listener.close()
    assert not path.exists()
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", ["another path", "removed", "not listening", "in the way"])
def test_a_socket_that_is_not_at_its_path_is_closed_and_a_new_one_made(path: Path, kind: str) -> None:
    before = open_descriptors()
    match kind:
        case "another path":
            left = left_at(path.with_name("vm2.sock"))
        case "removed":
            left = left_at(path)
            path.unlink()
        case "not listening":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
                left = os.dup(bound.fileno())
        case _:
            left = socket.socket(socket.AF_INET).detach()
    listener = UnixListener(path, mode=0o640, left=left)
    assert not listener.taken_over
    assert mode_of(path) == 0o640
    assert accepts(listener, path)
    listener.close()
    assert open_descriptors() == before


def test_what_stands_in_the_place_of_a_socket_that_was_left_is_left_alone(path: Path) -> None:
    before = open_descriptors()
    left = left_at(path)
    path.unlink()
    path.write_text("precious")
    with pytest.raises(StartError, match="is not a socket"):
        UnixListener(path, mode=0o600, left=left)
    assert path.read_text() == "precious"
    assert open_descriptors() == before
