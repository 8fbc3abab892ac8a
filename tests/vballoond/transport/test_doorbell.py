import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from vballoond.errors import FrontEndError
from vballoond.transport.doorbell import Kicks, check_doorbell, ring


@pytest.fixture
def bell() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


FULL = 0xFFFF_FFFF_FFFF_FFFE


class Counter:
    """Counts kicks, and lets a test wait for the next."""

    def __init__(self) -> None:
        self.count = 0
        self.heard: list[int] = []
        self._changed = asyncio.Event()

    def __call__(self, index: int) -> None:
        self.count += 1
        self.heard.append(index)
        self._changed.set()

    async def until(self, count: int) -> None:
        while self.count < count:
            self._changed.clear()
            await self._changed.wait()


def _fill(stream: socket.socket) -> None:
    stream.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while stream.send(bytes(4096)):
            pass


async def passes(rounds: int = 5) -> None:
    """Let the event loop look at its descriptors a few times."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def test_ringing_an_eventfd_makes_it_readable(bell: int) -> None:
    ring(bell)
    ring(bell)
    assert os.eventfd_read(bell) == 2


def test_ringing_writes_eight_bytes_to_a_stream() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ring(ours.fileno())
        assert theirs.recv(100) == b"\1" + bytes(7)


def test_ringing_for_nobody_is_harmless() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        ring(ours.fileno())
    read_end, write_end = os.pipe()
    os.close(read_end)
    ring(write_end)
    os.close(write_end)


def test_ringing_a_full_doorbell_is_harmless(bell: int) -> None:
    os.eventfd_write(bell, FULL)
    ring(bell)
    assert os.eventfd_read(bell) >= FULL


def test_a_full_doorbell_never_waits_though_the_far_end_cleared_its_flags(bell: int) -> None:
    os.eventfd_write(bell, FULL)
    os.set_blocking(bell, True)
    ring(bell)
    assert os.eventfd_read(bell) >= FULL


def test_a_full_stream_never_waits_though_the_far_end_cleared_its_flags() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        _fill(ours)
        ours.setblocking(True)
        ring(ours.fileno())


def test_a_full_pipe_never_waits_though_the_far_end_cleared_its_flags() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write_end, bytes(4096)):
            pass
    os.set_blocking(write_end, True)
    ring(write_end)
    os.close(read_end)
    os.close(write_end)


def test_many_rings_are_all_counted(bell: int) -> None:
    for _ in range(1000):
        ring(bell)
    assert os.eventfd_read(bell) == 1000


def test_ringing_a_pipe_writes_eight_bytes() -> None:
    read_end, write_end = os.pipe()
    ring(write_end)
    assert os.read(read_end, 100) == b"\1" + bytes(7)
    os.close(read_end)
    os.close(write_end)


def test_eventfds_sockets_and_pipes_are_doorbells(bell: int) -> None:
    check_doorbell(bell)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        check_doorbell(ours.fileno())
    for fd in os.pipe():
        check_doorbell(fd)
        os.close(fd)


def test_nothing_else_is_a_doorbell() -> None:
    file = os.memfd_create("file")
    with select.epoll() as epoll:
        for fd in (file, epoll.fileno()):
            with pytest.raises(FrontEndError, match="neither an eventfd nor a socket nor a pipe"):
                check_doorbell(fd)
    os.close(file)


async def test_a_ring_is_a_kick(bell: int) -> None:
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(3, bell)
    for count in range(1, 4):
        ring(bell)
        await heard.until(count)
    await passes()
    assert heard.heard == [3, 3, 3]
    kicks.close()


async def test_rings_that_were_not_looked_at_are_one_kick(bell: int) -> None:
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    for _ in range(5):
        ring(bell)
    await heard.until(1)
    await passes()
    assert heard.count == 1
    kicks.close()


async def test_a_ring_from_before_is_a_kick_too(bell: int) -> None:
    ring(bell)
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    await heard.until(1)
    kicks.close()


async def test_a_semaphore_that_stays_ready_is_one_kick() -> None:
    bell = os.eventfd(1000, os.EFD_SEMAPHORE)
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    await heard.until(1)
    await passes()
    assert heard.count == 1
    os.eventfd_write(bell, 1)
    await heard.until(2)
    kicks.close()
    os.close(bell)


async def test_each_ring_is_heard_by_its_number(bell: int) -> None:
    other = os.eventfd(0)
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    kicks.listen(4, other)
    ring(other)
    await heard.until(1)
    ring(bell)
    await heard.until(2)
    assert heard.heard == [4, 0]
    kicks.close()
    os.close(other)


@pytest.mark.parametrize("make", ["socket", "pipe"])
async def test_any_bytes_of_a_stream_are_a_kick_and_it_never_fills(make: str) -> None:
    ours, theirs = (end.detach() for end in socket.socketpair()) if make == "socket" else os.pipe()
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, ours)
    for count in range(1, 1000):
        os.write(theirs, bytes(1024))
        await heard.until(count)
    kicks.close()
    os.close(ours)
    os.close(theirs)


async def test_a_far_end_that_is_gone_is_one_last_kick() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        heard = Counter()
        kicks = Kicks(heard)
        kicks.listen(0, ours.fileno())
        theirs.close()
        await heard.until(1)
        await passes()
        assert heard.count == 1
        kicks.close()


async def test_a_descriptor_that_cannot_be_read_is_one_last_kick() -> None:
    ours, theirs = os.pipe()
    heard = Counter()
    kicks = Kicks(heard)
    # The end that is for writing: always ready for an error once the other is gone, never for reading.
    kicks.listen(0, theirs)
    os.close(ours)
    await heard.until(1)
    await passes()
    assert heard.count == 1
    kicks.close()
    os.close(theirs)


async def test_a_forgotten_ring_is_heard_no_more(bell: int) -> None:
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    kicks.forget(0)
    kicks.forget(0)
    ring(bell)
    await passes()
    assert heard.count == 0
    assert os.eventfd_read(bell) == 1
    kicks.close()
    kicks.close()


async def test_another_descriptor_takes_the_place_of_the_first(bell: int) -> None:
    other = os.eventfd(0)
    heard = Counter()
    kicks = Kicks(heard)
    kicks.listen(0, bell)
    kicks.listen(0, other)
    ring(bell)
    await passes()
    assert heard.count == 0
    ring(other)
    await heard.until(1)
    kicks.close()
    os.close(other)
