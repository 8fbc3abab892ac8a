"""A driver in a process of its own: the program, and what its test has to know of it.

    python -m support.driver_process SPEC      a Traffic or a Meeting, as JSON

Rules of this file:

* Everything that a buffer is follows from its number, so either side knows what the other one should have sent.
* The driver says what is wrong on standard error and ends with status 1. Where nothing comes for :data:`PATIENCE_S` it
  says whether there was something to come.
* It looks into the rings with views of its own, too: the ring's code sees no more than what it needs.
"""

import json
import mmap
import os
import random
import select
import sys
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

from guest_driver.buffers import Piece
from guest_driver.errors import GuestModelError
from guest_driver.kernel_memory import KernelMemory
from guest_driver.rings import RingAreas, make_ring
from protocol.packed_ring import (
    AVAILABLE_TURN,
    DESCRIPTOR_WORDS,
    DESCRIPTOR_WORDS32,
    FLAGS_WORD,
    LEN_WORD32,
    RING_START,
    USED_TURN,
    PackedFlag,
    PackedRingGeometry,
)
from protocol.shared_words import full_barrier, words16, words32
from protocol.split_ring import IDX_WORD, INDEX_MASK, USED_ELEMENT_WORDS, USED_RING_WORD32, SplitRingGeometry
from protocol.virtio import RingFeature

PATIENCE_S: Final = 20
"""A notification that is not there by then never comes."""

MEMORY_BYTES: Final = 1 << 20
MOST_PIECES: Final = 3

_RING_BYTES: Final = 1 << 16
_DATA: Final = 1 << 17
_DATA_BYTES: Final = 8
_SLOTS: Final = 4096  # many more than a queue's entries: no slot is written again before the device has read it
_LENGTHS: Final = 1021
_WAITS: Final = 5
_LOOKS: Final = (0, 40, 400, 400)
"""Before it sleeps. Awake it answers at once: then what it does meets what the device does before that sleeps."""


class StrangeError(Exception):
    """The device did what no device may do."""


# What both sides know.


@dataclass(frozen=True, slots=True)
class Traffic:
    """Send ``buffers`` buffers, and wait for each; sleep where there is nothing to do."""

    features: int
    queue_size: int
    buffers: int
    seed: int
    memory_fd: int
    kick_fd: int
    interrupt_fd: int


@dataclass(frozen=True, slots=True)
class Meeting:
    """Meet another party ``rounds`` times; see :func:`store_and_look`."""

    rounds: int
    memory_fd: int
    outcomes_at: int
    """Where in memory the driver leaves what it missed, a byte for each round."""


def buffer(number: int) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return what the device reads and what it may write of a buffer. Only the first piece is memory that is there."""
    data = (_DATA + number % _SLOTS * _DATA_BYTES, _DATA_BYTES)
    if number % 8:
        return (data,), ()
    return (data, (number << 16, number % _LENGTHS)), ((number << 20, number),)


def content(number: int) -> bytes:
    """Return what the first piece of a buffer holds."""
    return number.to_bytes(_DATA_BYTES, "little")


def written_bytes(number: int) -> int:
    """Return how much the device says that it wrote into a buffer."""
    return 1 + number % _LENGTHS


def store_and_look(words: memoryview, mine: int, theirs: int, rounds: int, *, adapts: bool) -> bytearray:
    """Meet another process in each round; then store its number, and look, behind a barrier, whether the other one did.

    Args:
        words: Shared memory, zeros, in 32-bit words: this process stores ``mine`` and the word behind it.
        mine: Where this one stores.
        theirs: Where the other one does.
        rounds: How often.
        adapts: One of the two waits before it stores, longer or less by who was first, until both do it together.

    Returns:
        For each round 1 where the other's store was not seen.
    """
    missed = bytearray(rounds)
    waits = _WAITS
    for number in range(rounds):
        words[mine + 1] = number + 1
        _wait_for(words, theirs + 1, number + 1)
        for _ in range(waits):
            pass
        words[mine] = number + 1
        full_barrier()
        unseen = words[theirs] <= number
        missed[number] = unseen
        if adapts:
            waits = waits + 1 if unseen else max(0, waits - 1)
    return missed


def _wait_for(words: memoryview, word: int, value: int) -> None:
    for _ in range(4_000_000):
        for _ in range(500):
            if words[word] >= value:
                return
        os.sched_yield()
    raise StrangeError(f"the other process stands still before round {value}")


# The driver.


class _SharedRam:
    """Guest memory that another process has made: as much of ``Ram`` as rings need."""

    def __init__(self, fd: int) -> None:
        self._view: Final = memoryview(mmap.mmap(fd, MEMORY_BYTES))

    def view(self, address: int, length: int) -> memoryview:
        return self._view[address : address + length]


class _SplitUsed:
    """The used ring, as it is in memory."""

    def __init__(self, ram: _SharedRam, areas: RingAreas, queue_size: int) -> None:
        geometry = SplitRingGeometry(queue_size)
        used = ram.view(areas.device_area, geometry.used_ring_bytes)
        self._queue_size: Final = queue_size
        self._words: Final = words16(used)
        self._elements: Final = words32(used[: geometry.used_elements_end])
        self._taken = 0

    def look(self, in_flight: int) -> None:
        """Raise a StrangeError where the used index is none that the device can have stored."""
        index = self._words[IDX_WORD]
        if (index - self._taken) & INDEX_MASK > in_flight:
            raise StrangeError(
                f"used index {index:#x} behind {self._taken & INDEX_MASK:#x}, with {in_flight} in flight"
            )

    def take(self, number: int) -> int:
        """Return the length in the next element; ``number`` is the buffer's."""
        slot = USED_RING_WORD32 + USED_ELEMENT_WORDS * (number % self._queue_size)
        self._taken += 1
        return self._elements[slot + 1]


class _PackedUsed:
    """The descriptor ring, as it is in memory."""

    def __init__(self, ram: _SharedRam, areas: RingAreas, queue_size: int) -> None:
        ring = ram.view(areas.descriptors, PackedRingGeometry(queue_size).descriptor_ring_bytes)
        self._queue_size: Final = queue_size
        self._words: Final = words16(ring)
        self._words32: Final = words32(ring)
        self._next = RING_START

    def look(self, in_flight: int) -> None:
        """Raise a StrangeError where the next descriptor's flags are neither the driver's nor the device's."""
        offset, wrap = self._next
        flags = self._words[offset * DESCRIPTOR_WORDS + FLAGS_WORD]
        available = AVAILABLE_TURN[wrap]
        if in_flight and flags not in {available, available | PackedFlag.NEXT, USED_TURN[wrap] | PackedFlag.WRITE}:
            raise StrangeError(f"flags {flags:#06x} of descriptor {offset}, with wrap counter {wrap}")

    def take(self, number: int) -> int:
        """Return the length in the next used descriptor; ``number`` is the buffer's."""
        length = self._words32[self._next.offset * DESCRIPTOR_WORDS32 + LEN_WORD32]
        self._next = self._next.moved(sum(map(len, buffer(number))), self._queue_size)
        return length


_Used: TypeAlias = _SplitUsed | _PackedUsed


class _TrafficDriver:
    """Sends buffers in batches of any size, and sleeps until some of them, or all, have come back."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic: Final = traffic
        self._chance: Final = random.Random(traffic.seed)
        self._ram: Final = _SharedRam(traffic.memory_fd)
        self._ring, self.areas = make_ring(self._ram, KernelMemory(_RING_BYTES), traffic.features, traffic.queue_size)
        packed = traffic.features & RingFeature.RING_PACKED
        self._used: Final[_Used] = (_PackedUsed if packed else _SplitUsed)(self._ram, self.areas, traffic.queue_size)
        self._in_flight: Final[deque[int]] = deque()
        self._added = self._returned = 0
        self._poll: Final = select.poll()
        self._poll.register(traffic.interrupt_fd, select.POLLIN)
        self.sleeps = self.kicks = 0

    def run(self) -> None:
        """Send all, and have all back."""
        while self._returned < self._traffic.buffers:
            self._add(self._chance.choice((1, 1, 2, 5, self._traffic.queue_size)))
            if self._ring.should_kick():
                self.kicks += 1
                os.eventfd_write(self._traffic.kick_fd, 1)
            self._await(self._chance.choice((0, 0, self._traffic.queue_size // 2)), self._chance.choice(_LOOKS))

    def _add(self, wanted: int) -> None:
        end = min(self._added + wanted, self._traffic.buffers)
        while self._added < end and self._ring.num_free >= MOST_PIECES:
            readable, writable = buffer(self._added)
            self._ram.view(*readable[0])[:] = content(self._added)
            self._in_flight.append(self._ring.add_chain(readable, writable))
            self._added += 1

    def _await(self, left: int, looks: int) -> None:
        """Take buffers back until so many are left, and look so often before each sleep."""
        looked = 0
        while True:
            took = self._take_back()
            if len(self._in_flight) <= left:
                return
            if took:
                looked = 0
            elif looked < looks:
                looked += 1
            else:
                self._sleep()
                looked = 0

    def _take_back(self) -> bool:
        """Take back what there is; say whether there was any. Nothing is left unseen then, but what interrupts."""
        before = self._returned
        self._used.look(len(self._in_flight))
        while (head := self._ring.get_used()) is not None:
            self._check(head)
            self._returned += 1
            self._used.look(len(self._in_flight))
        return self._returned > before

    def _check(self, head: int) -> None:
        expected, length = self._in_flight.popleft(), self._used.take(self._returned)
        if head != expected:
            raise StrangeError(f"buffer {self._returned}, which is {expected}, came back as {head}")
        if length != written_bytes(self._returned):
            raise StrangeError(f"{length} bytes were written into buffer {self._returned}")

    def _sleep(self) -> None:
        self.sleeps += 1
        if not self._poll.poll(PATIENCE_S * 1000):
            found = self._ring.get_used() is not None
            what = "lost wake-up: a buffer was used, and no interrupt came" if found else "no buffer was used"
            raise StrangeError(f"{what} for {PATIENCE_S} s, {self._returned} of {self._added} having come back")
        os.eventfd_read(self._traffic.interrupt_fd)


def _send_traffic(traffic: Traffic) -> None:
    driver = _TrafficDriver(traffic)
    print(json.dumps(driver.areas), flush=True)
    driver.run()
    print(json.dumps({"sleeps": driver.sleeps, "kicks": driver.kicks}))


def _meet(meeting: Meeting) -> None:
    ram = _SharedRam(meeting.memory_fd)
    missed = store_and_look(ram.view(0, 4096).cast("I"), 32, 0, meeting.rounds, adapts=False)
    ram.view(meeting.outcomes_at, meeting.rounds)[:] = missed


def _main(spec: str) -> None:
    keys = json.loads(spec)
    try:
        if "rounds" in keys:
            _meet(Meeting(**keys))
        else:
            _send_traffic(Traffic(**keys))
    except (StrangeError, GuestModelError) as error:
        sys.exit(f"the driver: {error}")


if __name__ == "__main__":
    _main(sys.argv[1])
