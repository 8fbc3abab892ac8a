import os
from collections.abc import Iterator

import pytest

from vballoond.transport.eventfd import EventfdSignaller

FULL = (1 << 64) - 2


@pytest.fixture
def eventfd() -> Iterator[int]:
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


@pytest.fixture(params=["as the kernel", "by writing"])
def signaller(request) -> EventfdSignaller:
    signaller = EventfdSignaller()
    signaller.never_waits = signaller.never_waits and request.param == "as the kernel"
    return signaller


def test_this_machine_has_what_it_needs() -> None:
    assert EventfdSignaller().never_waits


def test_each_signal_counts(signaller: EventfdSignaller, eventfd: int) -> None:
    for _ in range(500):
        signaller.signal(eventfd)
    assert os.eventfd_read(eventfd) == 500


def test_a_full_counter_stays_full(signaller: EventfdSignaller, eventfd: int) -> None:
    os.eventfd_write(eventfd, FULL)
    signaller.signal(eventfd)
    assert os.eventfd_read(eventfd) >= FULL


@pytest.mark.parametrize("fd", [1 << 20])
def test_what_is_no_descriptor_is_an_error(signaller: EventfdSignaller, fd: int) -> None:
    with pytest.raises(OSError, match=r"Bad file descriptor|cannot be signalled"):
        signaller.signal(fd)


def test_a_file_is_an_error() -> None:
    file = os.memfd_create("file")
    with pytest.raises(OSError, match="cannot be signalled"):
        EventfdSignaller().signal(file)
    os.close(file)


def test_without_asynchronous_io_it_writes(monkeypatch, eventfd: int) -> None:
    monkeypatch.setattr("vballoond.transport.eventfd._SYSCALLS", None)
    signaller = EventfdSignaller()
    assert not signaller.never_waits
    signaller.signal(eventfd)
    assert os.eventfd_read(eventfd) == 1
