import errno
import os

import pytest

from vballoond.cli.snapshot_file import SnapshotFile


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
