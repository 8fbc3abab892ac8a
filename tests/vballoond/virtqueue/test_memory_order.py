"""Both halves of a ring in two processes that run at the same time, each on a processor of its own if there are two.

Nothing here depends on how long something takes. A party that sleeps for ``PATIENCE_S`` fails the test: it was not
woken for what there is.
"""

import json
import os
import random
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from operator import and_
from typing import Final, Self

import pytest
from support.driver_process import (
    MEMORY_BYTES,
    PATIENCE_S,
    Meeting,
    Traffic,
    buffer,
    content,
    store_and_look,
    written_bytes,
)
from support.memory_files import Place, mapped_region, memory_file

from guest_driver import packed_ring, split_ring
from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import make_ring
from protocol.shared_words import words16, words32
from protocol.virtio import RingFeature
from vballoond.memory.guest_memory import GuestMemory
from vballoond.transport.rings import RingPlace, open_fresh_rings
from vballoond.virtqueue import packed, split
from vballoond.virtqueue.chain import Chain
from vballoond.virtqueue.ring import Ring

pytestmark = pytest.mark.long

BUFFERS: Final = 400_000
"""In each combination. A split ring's indices wrap six times."""

MEETINGS: Final = 1_000_000
"""Without a barrier three to forty of them go wrong."""

_LOOKS: Final = 40  # at most, before the device asks for a kick: the driver answers in that time
_OUTCOMES: Final = 4096


class DriverProcess:
    """A driver that runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.fd: Final = os.pidfd_open(process.pid)
        self._process: Final = process

    def line(self) -> list[int]:
        """Return the next thing that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else self.fail("it says nothing")

    def end(self) -> dict[str, int]:
        """Wait for its end, which is to be a good one, and return the last thing that it says."""
        said, complaint = self._process.communicate(timeout=2 * PATIENCE_S)
        assert self._process.returncode == 0, complaint
        return json.loads(said) if said else {}

    def fail(self, sight: str) -> None:
        """Fail the test with what it says at its end, and with what is seen from outside."""
        _, complaint = self._process.communicate(timeout=2 * PATIENCE_S)
        pytest.fail(f"{complaint.strip()} (status {self._process.returncode}); the device: {sight}", pytrace=False)


@contextmanager
def driver_process(spec: Traffic | Meeting, *fds: int) -> Iterator[DriverProcess]:
    """Start a driver that shares descriptors with the test."""
    command = [sys.executable, "-m", "support.driver_process", json.dumps(asdict(spec))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, pass_fds=fds, env=environment, **pipes) as process:
        driver = DriverProcess(process)
        try:
            yield driver
        finally:
            process.kill()
            os.close(driver.fd)


class Device:
    """Takes what comes, gives it back in batches of any size, and sleeps where nothing is left to do."""

    def __init__(self, ring: Ring, memory: GuestMemory, traffic: Traffic, driver: DriverProcess) -> None:
        self._ring: Final = ring
        self._memory: Final = memory
        self._traffic: Final = traffic
        self._driver: Final = driver
        self._chance: Final = random.Random(~traffic.seed)
        self._heads: Final[list[int]] = []
        self._taken = self._returned = 0
        self._poll: Final = select.poll()
        for fd in (traffic.kick_fd, driver.fd):
            self._poll.register(fd, select.POLLIN)
        self.sleeps = self.interrupts = 0

    def serve(self) -> None:
        """Serve until all buffers were returned."""
        batch, looks = 1, 0
        while self._returned < self._traffic.buffers:
            chain = self._ring.pop()
            if chain is not None:
                self._take(chain)
            elif looks and not self._heads:
                looks -= 1
            elif not self._heads and not self._ring.enable_kicks():
                self._sleep()
            if self._heads and (chain is None or len(self._heads) >= batch):
                self._give_back()
                batch, looks = self._chance.choice((1, 1, 2, 7, 1000)), self._chance.randrange(_LOOKS)

    def _take(self, chain: Chain) -> None:
        assert (chain.readable, chain.writable) == buffer(self._taken), f"buffer {self._taken}"
        assert self._memory.read(*chain.readable[0]) == content(self._taken), f"buffer {self._taken}"
        self._taken += 1
        self._heads.append(chain.head)

    def _give_back(self) -> None:
        for head in self._heads:
            self._ring.push(head, written_bytes(self._returned))
            self._returned += 1
        self._heads.clear()
        if self._ring.should_notify():
            self.interrupts += 1
            os.eventfd_write(self._traffic.interrupt_fd, 1)

    def _sleep(self) -> None:
        self.sleeps += 1
        ready = [fd for fd, _ in self._poll.poll(2 * PATIENCE_S * 1000)]
        if self._traffic.kick_fd in ready:
            os.eventfd_read(self._traffic.kick_fd)
        else:
            found = self._ring.pop() is not None
            self._driver.fail(
                f"lost wake-up: buffer {self._taken} is there, and no kick came"
                if found
                else f"asleep, and there is no buffer {self._taken}"
            )


@contextmanager
def shared_memory() -> Iterator[tuple[int, GuestMemory]]:
    """Make memory for both processes."""
    with memory_file(MEMORY_BYTES) as fd, mapped_region(fd, Place(0, MEMORY_BYTES)) as region:
        yield fd, GuestMemory([region])


@contextmanager
def traffic_between(features: int, queue_size: int) -> Iterator[tuple[Device, DriverProcess]]:
    """Start a driver, and serve its ring."""
    with shared_memory() as (fd, memory), ExitStack() as stack:
        kick_fd, interrupt_fd = os.eventfd(0), os.eventfd(0)
        for eventfd in (kick_fd, interrupt_fd):
            stack.callback(os.close, eventfd)
        traffic = Traffic(features, queue_size, BUFFERS, 1, fd, kick_fd, interrupt_fd)
        driver = stack.enter_context(driver_process(traffic, fd, kick_fd, interrupt_fd))
        place = RingPlace(queue_size, *driver.line())
        ring = stack.enter_context(closing(open_fresh_rings({0: place}, memory, features)[0]))
        yield Device(ring, memory, traffic, driver), driver


FORMATS = pytest.mark.parametrize(
    ("ring_format", "queue_size"), [(0, 64), (int(RingFeature.RING_PACKED), 61)], ids=["split", "packed"]
)
EVENT_IDX = pytest.mark.parametrize("event_idx", [0, int(RingFeature.EVENT_IDX)], ids=["flags", "event index"])


@FORMATS
@EVENT_IDX
def test_a_driver_in_another_process_gets_every_buffer_back_once_in_order(ring_format, queue_size, event_idx):
    with traffic_between(ring_format | event_idx, queue_size) as (device, driver):
        device.serve()
        said = driver.end()

    # Both slept, and had to be woken, often enough for a wake-up to be lost.
    assert device.sleeps > BUFFERS // 1000
    assert said["sleeps"] > BUFFERS // 1000


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on one processor all stores are seen in order")
def test_of_two_who_store_and_then_look_behind_a_barrier_one_sees_what_the_other_stored():
    with shared_memory() as (fd, memory), memory.user_view(0, MEMORY_BYTES) as view:
        with driver_process(Meeting(MEETINGS, fd, _OUTCOMES), fd) as driver, view[:_OUTCOMES].cast("I") as words:
            missed = store_and_look(words, 0, 32, MEETINGS, adapts=True)
            driver.end()
        missed_there = bytes(view[_OUTCOMES : _OUTCOMES + MEETINGS])

    assert sum(missed) + sum(missed_there) > 0, "they never met at the same time"
    neither_saw_it = sum(map(and_, missed, missed_there))
    assert neither_saw_it == 0


# Barriers stand where they must. Without one a wake-up is lost too rarely for the tests above to count on it.


class TapedWords:
    """Words of a ring that note each load and store of them."""

    def __init__(self, words: memoryview, tape: list[str]) -> None:
        self._words = words
        self._tape = tape

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getitem__(self, index: int) -> int:
        self._tape.append("l")
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._tape.append("s")
        self._words[index] = value

    def release(self) -> None:
        self._words.release()


@pytest.fixture
def tape(monkeypatch):
    """What both halves do with words and barriers, a letter each."""
    letters: list[str] = []
    for module in (split_ring, packed_ring, split, packed):
        monkeypatch.setattr(module, "words16", lambda view: TapedWords(words16(view), letters))
        monkeypatch.setattr(module, "words32", lambda view: TapedWords(words32(view), letters), raising=False)
        monkeypatch.setattr(module, "full_barrier", lambda: letters.append("b"))
    return letters


@FORMATS
@EVENT_IDX
def test_whoever_publishes_and_then_looks_has_a_barrier_in_between(ring_format, queue_size, event_idx, tape):
    features = ring_format | event_idx
    with (
        closing(Ram(MEMORY_BYTES)) as ram,
        mapped_region(ram.fd, Place(0, MEMORY_BYTES)) as region,
        ExitStack() as stack,
    ):
        driver, areas = make_ring(ram, KernelMemory(MEMORY_BYTES), features, queue_size)
        stack.callback(driver.close)
        place = RingPlace(queue_size, *areas)
        device = stack.enter_context(closing(open_fresh_rings({0: place}, GuestMemory([region]), features)[0]))

        def order(*steps: Callable[[], object]) -> str:
            """Say what is done in steps."""
            tape.clear()
            for step in steps:
                step()
            return "".join(tape)

        kick = order(lambda: driver.add(0, 4), driver.should_kick)
        head = device.pop().head
        notify = order(lambda: device.push(head, 4), device.should_notify)
        asking = order(device.enable_kicks)
        taking_back = order(driver.get_used, driver.get_used)

    behind = re.compile("[sl]*sb+l+")
    assert all(map(behind.fullmatch, (kick, notify, asking))), (kick, notify, asking)
    assert behind.fullmatch(taking_back) or ("s" not in taking_back and not event_idx), taking_back
