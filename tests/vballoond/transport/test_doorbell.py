import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from vballoond.transport.doorbell import KickReader, ring


@pytest.fixture
def bell() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    yield fd
    os.close(fd)


class Kicks:
    """Counts kicks, and lets a test wait for the next."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._changed.set()

    async def until(self, count: int) -> None:
        while self.count < count:
            self._changed.clear()
            await self._changed.wait()


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
    os.eventfd_write(bell, 0xFFFF_FFFF_FFFF_FFFE)
    ring(bell)
    assert os.eventfd_read(bell) == 0xFFFF_FFFF_FFFF_FFFE
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while ours.send(bytes(4096)):
                pass
        ring(ours.fileno())


async def test_a_ring_is_a_kick(bell: int) -> None:
    kicks = Kicks()
    reader = KickReader(bell, kicks)
    for count in range(1, 4):
        ring(bell)
        await kicks.until(count)
    await passes()
    assert kicks.count == 3
    reader.close()


async def test_rings_that_were_not_looked_at_are_one_kick(bell: int) -> None:
    kicks = Kicks()
    reader = KickReader(bell, kicks)
    for _ in range(5):
        ring(bell)
    await kicks.until(1)
    await passes()
    assert kicks.count == 1
    reader.close()


async def test_a_ring_from_before_is_a_kick_too(bell: int) -> None:
    ring(bell)
    kicks = Kicks()
    reader = KickReader(bell, kicks)
    await kicks.until(1)
    reader.close()


async def test_any_bytes_of_a_stream_are_a_kick() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        kicks = Kicks()
        reader = KickReader(ours.fileno(), kicks)
        theirs.send(b"x")
        await kicks.until(1)
        theirs.send(bytes(64))
        await kicks.until(2)
        reader.close()


async def test_a_far_end_that_is_gone_is_one_last_kick() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        kicks = Kicks()
        reader = KickReader(ours.fileno(), kicks)
        theirs.close()
        await kicks.until(1)
        await passes()
        assert kicks.count == 1
        reader.close()


async def test_a_descriptor_that_cannot_be_read_is_one_last_kick() -> None:
    ours, theirs = os.pipe()
    kicks = Kicks()
    # The end that is for writing: always ready for an error once the other is gone, never for reading.
    reader = KickReader(theirs, kicks)
    os.close(ours)
    await kicks.until(1)
    await passes()
    assert kicks.count == 1
    reader.close()
    os.close(theirs)


async def test_somebody_else_may_have_read_the_kick(bell: int) -> None:
    kicks = Kicks()
    reader = KickReader(bell, kicks)
    ring(bell)
    os.eventfd_read(bell)
    await passes()
    reader._ready()
    assert kicks.count == 0
    ring(bell)
    await kicks.until(1)
    reader.close()


async def test_a_closed_reader_hears_no_more(bell: int) -> None:
    kicks = Kicks()
    reader = KickReader(bell, kicks)
    reader.close()
    ring(bell)
    await passes()
    assert kicks.count == 0
    assert os.eventfd_read(bell) == 1


async def test_closing_twice_leaves_the_next_owner_of_the_number_alone(bell: int) -> None:
    first, second = Kicks(), Kicks()
    reader = KickReader(bell, first)
    reader.close()
    other = KickReader(bell, second)
    reader.close()
    ring(bell)
    await second.until(1)
    assert first.count == 0
    other.close()
