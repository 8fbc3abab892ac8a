import fcntl
import os
from contextlib import closing
from pathlib import Path

import pytest
from support.memory_files import FRAME, memory_file

from vballoond.errors import FrontEndError
from vballoond.memory.seals import check_sealed

QEMU_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@pytest.mark.parametrize("seals", [fcntl.F_SEAL_SHRINK, QEMU_SEALS])
def test_a_memfd_that_is_sealed_against_shrinking_will_do(seals: int) -> None:
    with memory_file(2 * FRAME, may_be_sealed=True) as fd:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        check_sealed(fd)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, FRAME)


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_GROW, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL])
def test_a_memfd_that_is_not_is_refused(seals: int) -> None:
    with memory_file(2 * FRAME, may_be_sealed=True) as fd:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        with pytest.raises(FrontEndError, match=r"without F_SEAL_SHRINK.*require_sealed_memory.*seal=on"):
            check_sealed(fd)
        os.ftruncate(fd, FRAME)


def test_a_memfd_that_cannot_be_sealed_is_refused() -> None:
    with memory_file(FRAME) as fd, pytest.raises(FrontEndError, match="without F_SEAL_SHRINK"):
        check_sealed(fd)


def test_what_has_no_seals_is_refused(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for fd in (reader, writer, directory):
            with pytest.raises(FrontEndError, match=r"can shrink; .*user-mode Linux has none"):
                check_sealed(fd)
        with pytest.raises(FrontEndError, match="of a kind without seals"):
            check_sealed(reader)
    finally:
        for fd in (reader, writer, directory):
            os.close(fd)


def test_memory_of_huge_pages_can_be_sealed_too() -> None:
    try:
        fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_HUGETLB | os.MFD_ALLOW_SEALING)
    except OSError as error:
        pytest.skip(f"this host's kernel has no huge pages: {error.strerror}")
    with closing(os.fdopen(fd, "rb")):
        with pytest.raises(FrontEndError, match="without F_SEAL_SHRINK"):
            check_sealed(fd)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, QEMU_SEALS)
        check_sealed(fd)
