"""Rings that are set up well and hold garbage, which another thread changes while they are served.

A step sets up a guest, spoils its rings and kicks them, and then sets them up again, some times over: a request of the
driver that comes then must be served.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from guest_driver.errors import GuestModelError
from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME, PageFrame
from protocol.balloon.queues import QueueRole
from protocol.packed_ring import PACKED_DESCRIPTOR, PackedDescriptor, PackedRingGeometry
from protocol.shared_words import words16
from protocol.split_ring import DESCRIPTOR, IDX_WORD, Descriptor, SplitRingGeometry
from protocol.virtio import RingFeature

from .front_end import FrontEnd
from .numbers import EDGES, number
from .vm import BALLOON_FEATURES, MIB, OWN_BYTES, RING_FEATURES, Vm
from .worker import Note

RAM_BYTES: Final = OWN_BYTES + 4 * MIB
_DATA: Final = OWN_BYTES
_LIVES: Final = 4
_BLOWS: Final = 40
_RUN: Final = 16  # descriptors that are written at once
_STORES: Final = 20
_PAUSE_S: Final = 0.0005
_SIZES: Final = (1, 2, 8, 64, 128, 1024)
_GOOD_PFN: Final = (RAM_BYTES // FRAME_BYTES) - 1

_ADDRESSES: Final = (_DATA, _DATA, _DATA + FRAME_BYTES, _DATA + 16, RAM_BYTES - FRAME_BYTES, RAM_BYTES, 0)
_LENGTHS: Final = (4, 4, 16, 32, 48, 256, 1024, 4096, 16384, 0, 1, 3, 24, 16388, 1 << 20, (1 << 32) - 1)
_FLAGS: Final = (0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 5, 6, 7)
_TURNS: Final = (0, 1 << 7, 1 << 7, 1 << 7, 1 << 15, 1 << 15, 1 << 7 | 1 << 15)


class GarbageRings:
    """Has them served by the balloon at ``path``."""

    def __init__(self, name: str, path: Path, *, packed: bool) -> None:
        self.name: Final = name
        self._path: Final = path
        self._packed: Final = packed

    def step(self, random: Random, note: Note) -> None:
        """Spoil rings that run until the balloon is likely broken, and mend them, a few times on one connection."""
        features = int(RingFeature.VERSION_1) | random.getrandbits(64) & (BALLOON_FEATURES | RING_FEATURES)
        if self._packed:
            features |= RingFeature.RING_PACKED
        size = random.choice(_SIZES)
        note(f"rings of {size} with features {features:#x}")
        vm = Vm(features, size, RAM_BYTES)
        try:
            with FrontEnd.welcomed(self._path) as front_end:
                front_end.do(vm.monitor.conversation(table=random.random() < 0.5))
                for life in range(_LIVES):
                    note(f"life {life}")
                    with _scribbling(vm, random.getrandbits(64), active=random.random() < 0.4):
                        for _ in range(random.randrange(_BLOWS)):
                            _blow(random, vm, size, packed=self._packed)
                    _mend(front_end, vm)
        finally:
            vm.close()

    def rest(self) -> None:
        """A step leaves nothing behind."""


def _mend(front_end: FrontEnd, vm: Vm) -> None:
    """Set the rings up again, as a driver does that is loaded anew, and see that they are served."""
    for index in vm.indices.values():
        front_end.stop_ring(index)
    vm.make_rings()
    front_end.do(vm.monitor.start())
    data = PAGE_FRAME.pack(PageFrame(_GOOD_PFN))
    for role in (QueueRole.INFLATE, QueueRole.DEFLATE):
        vm.serve(role, data)


@contextmanager
def _scribbling(vm: Vm, seed: int, *, active: bool) -> Iterator[None]:
    """Have another thread store numbers anywhere in the rings, and in what they refer to, all the while."""
    ended = threading.Event()
    random = Random(seed)

    def scribble() -> None:
        # The pause is for the other workers: all of them share one interpreter.
        while not ended.wait(_PAUSE_S):
            for _ in range(_STORES):
                address = random.choice((random.randrange(OWN_BYTES // 16), _DATA + random.randrange(4096))) & ~1
                vm.ram.write(address, number(random, 16).to_bytes(2, "little"))

    thread = threading.Thread(target=scribble)
    if active:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if active:
            thread.join()


def _blow(random: Random, vm: Vm, size: int, *, packed: bool) -> None:
    """Do something in one ring: what a driver does, or what none may do; and kick it."""
    index = random.choice(list(vm.indices.values()))
    areas = vm.monitor.areas[index]
    match random.randrange(9):
        case 0:
            run = random.randint(1, min(size, _RUN))
            vm.ram.write(areas.descriptors, _descriptors(random, run, size, packed=packed))
        case 1:
            vm.ram.write(_DATA + random.randrange(8) * FRAME_BYTES, _data(random, packed=packed))
        case 2 if not packed:
            _offer(random, vm, index, size)
        case 3:
            part, length = random.choice(_parts(vm, index, size, packed=packed))
            blob = random.randbytes(random.randint(1, 16))
            vm.ram.write(part + random.randrange(max(1, length - len(blob))), blob)
        case 4:
            at = random.randrange(size)
            entry = _descriptors(random, 1, size, packed=packed)
            vm.ram.write(areas.descriptors + at * len(entry), entry)
        case _:
            _add(random, vm, index)
    if random.random() < 0.9:
        vm.monitor.kick(index)


def _add(random: Random, vm: Vm, index: int) -> None:
    """Make a buffer available as a driver does, of pieces that may be anything, and take back what was used."""
    ring = vm.rings[index]
    pieces = [(number(random, 64, _ADDRESSES), random.choice(_LENGTHS)) for _ in range(random.choice((1, 1, 2, 5)))]
    readable = random.choice((0, len(pieces), len(pieces)))
    with contextlib.suppress(GuestModelError):  # the ring is full, or spoilt
        ring.get_used()
        ring.add_chain(pieces[:readable], pieces[readable:])


def _offer(random: Random, vm: Vm, index: int, size: int) -> None:
    """Make something available in a split ring; as a rule not more than there is room for."""
    geometry = SplitRingGeometry(size)
    with vm.ram.view(vm.monitor.areas[index].driver_area, geometry.avail_ring_bytes) as view, words16(view) as words:
        for word in range(2, len(words)):
            words[word] = random.randrange(size) if random.random() < 0.98 else number(random, 16)
        more = random.choice((1, 1, 1, size, size + 1, 0, number(random, 16)))
        words[IDX_WORD] = (words[IDX_WORD] + more) & 0xFFFF


def _parts(vm: Vm, index: int, size: int, *, packed: bool) -> list[tuple[int, int]]:
    """Return address and length of each part of a ring."""
    if packed:
        ring = PackedRingGeometry(size)
        sizes = (ring.descriptor_ring_bytes, ring.driver_event_bytes, ring.device_event_bytes)
    else:
        split = SplitRingGeometry(size)
        sizes = (split.descriptor_table_bytes, split.avail_ring_bytes, split.used_ring_bytes)
    return list(zip(vm.monitor.areas[index], sizes, strict=True))


def _descriptors(random: Random, count: int, size: int, *, packed: bool) -> bytes:
    """Return descriptors, in a ring or in an indirect table."""
    return b"".join(_descriptor(random, size, packed=packed) for _ in range(count))


def _descriptor(random: Random, size: int, *, packed: bool) -> bytes:
    address = number(random, 64, _ADDRESSES if random.random() < 0.9 else EDGES)
    length = number(random, 32, _LENGTHS)
    flags = random.choice(_FLAGS) if random.random() < 0.98 else random.getrandbits(16)
    entry = number(random, 16, (random.randrange(size),))
    if packed:
        return PACKED_DESCRIPTOR.pack(PackedDescriptor(address, length, entry, flags | random.choice(_TURNS)))
    return DESCRIPTOR.pack(Descriptor(address, length, flags, entry))


def _data(random: Random, *, packed: bool) -> bytes:
    """Return what a buffer may hold: page frame numbers, an indirect table, or anything."""
    match random.randrange(3):
        case 0:
            usual = (_DATA // FRAME_BYTES + 300, _GOOD_PFN, _GOOD_PFN + 1, 0xFFFF_FFFF, 0)
            return b"".join(number(random, 32, usual).to_bytes(4, "little") for _ in range(64))
        case 1:
            return _descriptors(random, _RUN, _RUN, packed=packed)
        case _:
            return random.randbytes(1024)
