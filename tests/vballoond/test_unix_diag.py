import os
import socket
from pathlib import Path

import pytest
from support.backend_rig import open_descriptors

from vballoond import unix_diag
from vballoond.unix_diag import INODE_MASK, bound_inode
from vballoond.unix_socket import UnixListener, discard


def listening(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        return os.dup(listener.fileno())


def test_the_file_is_that_at_the_path_wherever_it_is_moved(tmp_path: Path) -> None:
    before = open_descriptors()
    fd = listening(tmp_path / "x.sock")
    inode = bound_inode(fd)
    if inode is None:
        pytest.skip("this kernel does not tell to which file a socket is bound")
    assert inode == (tmp_path / "x.sock").stat().st_ino & INODE_MASK
    (tmp_path / "x.sock").rename(tmp_path / "y.sock")
    assert bound_inode(fd) == inode
    (tmp_path / "y.sock").unlink()
    assert bound_inode(fd) == inode
    os.close(fd)
    assert open_descriptors() == before


def test_what_is_bound_to_no_file_has_none() -> None:
    before = open_descriptors()
    pair = socket.socketpair()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + os.urandom(8).hex())
    tcp = socket.socket(socket.AF_INET)
    reading, writing = os.pipe()
    others = [*(each.detach() for each in (*pair, abstract, tcp)), reading, writing]
    assert [bound_inode(fd) for fd in others] == [None] * 6
    for fd in others:
        os.close(fd)
    assert bound_inode(9999) is None
    assert open_descriptors() == before


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0" * 15, id="cut off"),
        pytest.param(b"\xff" * 64, id="endless"),
        pytest.param(b"\x34\0\0\0\x14\0" + b"\0" * 46, id="attributes without a length"),
        pytest.param(b"\x34\0\0\0\x02\0" + b"\0" * 46, id="an error"),
    ],
)
def test_an_answer_that_is_none_comes_to_nothing(answer: bytes) -> None:
    try:
        assert unix_diag._answered(answer) is None
    except unix_diag.struct.error:
        assert len(answer) < 16


def test_a_socket_that_was_made_anew_at_the_path_is_not_the_one_that_was_left(tmp_path: Path) -> None:
    before = open_descriptors()
    path = tmp_path / "vm1.sock"
    left = listening(path)
    if bound_inode(left) is None:
        pytest.skip("this kernel does not tell to which file a socket is bound")
    path.unlink()
    stale = listening(path)
    os.close(stale)
    listener = UnixListener(path, mode=0o600, left=left)
    assert not listener.taken_over
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listener.socket.accept()[0].close()
    listener.close()
    assert open_descriptors() == before


def test_where_the_kernel_does_not_tell_the_path_counts(tmp_path: Path, monkeypatch) -> None:
    left = listening(tmp_path / "vm1.sock")
    monkeypatch.setattr(unix_diag.socket, "AF_NETLINK", 9999)
    assert bound_inode(left) is None
    listener = UnixListener(tmp_path / "vm1.sock", mode=0o600, left=left)
    assert listener.taken_over
    listener.close()


def test_a_socket_that_is_wanted_no_more_is_removed_from_where_it_is(tmp_path: Path) -> None:
    before = open_descriptors()
    discard(listening(tmp_path / "a.sock"))
    left = listening(tmp_path / "b.sock")
    (tmp_path / "b.sock").unlink()
    (tmp_path / "b.sock").write_text("another's")
    discard(left)
    discard(socket.socket(socket.AF_INET).detach())
    discard(os.eventfd(0))
    assert [path.name for path in tmp_path.iterdir()] == ["b.sock"]
    assert open_descriptors() == before
