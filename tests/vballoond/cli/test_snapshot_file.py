import errno
import os
import threading
from pathlib import Path

import pytest

from vballoond.cli.snapshot_file import MAX_LINE_BYTES, SnapshotFile, TooLongError, last_line


def test_lines_are_added_to_what_is_there(tmp_path) -> None:
    path = tmp_path / "r.jsonl"
    for line in ("one", "two"):
        with SnapshotFile(path) as file:
            file.add(line)
    assert path.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("torn", ["tw", "t" * 200_000])
def test_a_last_line_that_was_cut_off_is_removed_and_that_is_said(tmp_path, capsys, torn) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(f"one\n{torn}")
    with SnapshotFile(path) as file:
        file.add("three")
    assert path.read_text() == "one\nthree\n"
    assert "the last line of" in capsys.readouterr().err


def test_of_a_line_that_does_not_fit_nothing_stays(tmp_path, monkeypatch) -> None:
    path, true_write = tmp_path / "r.jsonl", os.write
    with SnapshotFile(path) as file:
        file.add("one")
        pieces = iter([2])

        def write(descriptor: int, data: memoryview) -> int:
            length = next(pieces, None)
            if length is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return true_write(descriptor, data[:length])

        with monkeypatch.context() as full:
            full.setattr(os, "write", write)
            with pytest.raises(OSError, match="No space left"):
                file.add("two")
        file.add("three")
    assert path.read_text() == "one\nthree\n"


@pytest.mark.parametrize(
    ("content", "last"),
    [
        (b"", b""),
        (b"\n\n", b""),
        (b"one", b"one"),
        (b"one\ntwo\n \r\n", b"two"),
        (b"x" * (MAX_LINE_BYTES + 10) + b"\ntwo\n", b"two"),
        (b"one\n" + b"x" * (MAX_LINE_BYTES - 1) + b"\n", b"x" * (MAX_LINE_BYTES - 1)),
    ],
    ids=["empty", "blank", "torn", "blank lines behind", "long before", "as long as can be"],
)
def test_the_last_line_that_is_not_blank_is_found(tmp_path, content: bytes, last: bytes) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    assert last_line(path) == last


def test_a_line_that_is_too_long_is_refused(tmp_path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"one\n" + b"x" * (MAX_LINE_BYTES + 1))
    with pytest.raises(TooLongError, match="has no last line within 20 MB"):
        last_line(path)


def test_what_comes_through_a_pipe_is_waited_for() -> None:
    reader, writer = os.pipe()

    def write() -> None:
        os.write(writer, b"one\ntwo\n")
        os.close(writer)

    threading.Timer(0.05, write).start()
    assert last_line(Path(f"/dev/fd/{reader}")) == b"two"
    os.close(reader)
