"""A ring goes on from its state in another device, whenever the first one died."""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest

from guest_driver.kernel_memory import KernelMemory
from guest_driver.ram import Ram
from guest_driver.rings import Ring as DriverRing
from guest_driver.rings import make_ring
from protocol.virtio import RingFeature
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.transport.rings import RingPlace, open_ring
from vballoond.virtqueue.ring import Ring
from vballoond.virtqueue.state import RingState

SPLIT = int(RingFeature.VERSION_1)
PACKED = int(RingFeature.VERSION_1 | RingFeature.RING_PACKED)
FORMATS = pytest.mark.parametrize("features", [SPLIT, PACKED], ids=["split", "packed"])


MIB = 1 << 20


class Killed(BaseException):
    """Stands for SIGKILL."""


class Record:
    """What outlives a device: the state of its ring, kept as a packed ring asks for it."""

    def __init__(self) -> None:
        self.state = RingState()
        self.die_when: str | None = None

    def publishing(self, descriptors: int) -> None:
        self._die("before it is written down")
        self.state = RingState(self.state.base, publishing=descriptors)
        self._die("before it is published")

    def published(self, base: int) -> None:
        self._die("when it was published")
        self.state = RingState(base, publishing=self.state.publishing)
        self._die("between the two words")
        self.state = RingState(base)

    def _die(self, moment: str) -> None:
        if self.die_when == moment:
            self.die_when = None
            raise Killed


class Pair:
    """A driver's ring, and the device that serves it at the moment."""

    def __init__(self, ram: Ram, memory: GuestMemory, features: int, size: int) -> None:
        self.driver: DriverRing
        self.driver, areas = make_ring(ram, KernelMemory(1 << 16), features, size)
        self.place = RingPlace(size, *areas)
        self.memory, self.features = memory, features
        self.record = Record()
        self.device: Ring = self.open(RingState())
        self.offered: list[int] = []
        self.served: list[int] = []
        self.returned: list[int] = []

    def open(self, state: RingState) -> Ring:
        """As whoever keeps states does: a split ring's is written down when it starts."""
        ring = open_ring(self.place, self.memory.user_view, self.memory, self.features, state, self.record)
        self.record.state = ring.state
        return ring

    def offer(self, number: int, pieces: int) -> None:
        self.driver.add_chain([(number * 16, 16) for _ in range(pieces)], ())
        self.offered.append(number)

    def serve(self) -> None:
        chain = self.device.pop()
        assert chain is not None
        self.served.append(chain.readable[0].address // 16)
        self.device.push(chain.head)

    def collect(self) -> None:
        while self.driver.get_used() is not None:
            self.returned.append(self.offered[len(self.returned)])

    def begin_again(self) -> None:
        self.device.close()
        self.device = self.open(self.record.state)


@contextmanager
def pair(features: int, size: int = 8) -> Iterator[Pair]:
    ram = Ram(MIB)
    region = MappedRegion(RegionPlace(0, MIB, 0, 0), ram.fd)
    made = Pair(ram, GuestMemory([region]), features, size)
    try:
        yield made
    finally:
        made.device.close()
        made.driver.close()
        region.close()
        ram.close()


@FORMATS
def test_what_was_taken_and_not_given_back_is_taken_again(features: int) -> None:
    with pair(features) as ring:
        for number in range(3):
            ring.offer(number, 1)
        ring.serve()
        for _ in range(2):
            assert ring.device.pop() is not None
        ring.record.state = ring.device.state
        ring.begin_again()
        ring.serve()
        ring.serve()
        assert ring.served == [0, 1, 2]
        assert ring.device.pop() is None
        ring.collect()
        assert ring.returned == [0, 1, 2]


@FORMATS
def test_a_fresh_ring_is_fresh_also_when_a_buffer_of_it_was_taken(features: int) -> None:
    with pair(features) as ring:
        fresh = ring.device.state
        ring.offer(0, 2)
        ring.device.pop()
        assert ring.device.state == fresh


def test_a_split_ring_goes_on_behind_what_was_used_since_its_state_was_written_down() -> None:
    with pair(SPLIT) as ring:
        for number in range(5):
            ring.offer(number, 1)
        for _ in range(4):
            ring.serve()
        assert ring.record.state == RingState(0, used_idx=0)
        ring.begin_again()
        ring.serve()
        assert ring.served == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        ("before it is written down", True),
        ("before it is published", True),
        ("when it was published", False),
        ("between the two words", False),
    ],
)
@pytest.mark.parametrize("served", range(17))
def test_a_packed_ring_survives_death_at_any_moment_of_giving_a_buffer_back(
    moment: str, again: bool, served: int
) -> None:
    with pair(PACKED) as ring:
        for number in range(served):
            ring.offer(number, 1 + number % 3)
            ring.serve()
            ring.collect()
        ring.offer(served, 2)
        ring.record.die_when = moment
        with pytest.raises(Killed):
            ring.serve()
        ring.begin_again()
        ring.offer(served + 1, 1)
        for _ in range(2 if again else 1):
            ring.serve()
        assert ring.device.pop() is None
        ring.collect()
        assert ring.returned == list(range(served + 2))


@pytest.mark.parametrize("moment", ["when it was published", "between the two words"])
@pytest.mark.parametrize(("size", "pieces"), [(1, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("served", range(5))
def test_a_driver_may_have_filled_the_ring_again_by_the_time_that_a_device_goes_on(
    moment: str, size: int, pieces: int, served: int
) -> None:
    with pair(PACKED, size) as ring:
        for number in range(served):
            ring.offer(number, pieces)
            ring.serve()
            ring.collect()
        ring.offer(served, pieces)
        ring.record.die_when = moment
        with pytest.raises(Killed):
            ring.serve()
        ring.collect()
        while ring.driver.num_free:
            ring.offer(len(ring.offered), 1)
        ring.begin_again()
        for _ in range(size):
            ring.serve()
        ring.collect()
        assert ring.returned == ring.offered == list(range(served + 1 + size))


@FORMATS
@pytest.mark.parametrize("seed", range(20))
def test_every_buffer_comes_back_once_and_in_order_however_often_the_device_dies(features: int, seed: int) -> None:
    random = Random(seed)
    moments = ("before it is written down", "before it is published", "when it was published", "between the two words")
    with pair(features, random.choice((4, 8, 16))) as ring:
        for _ in range(300):
            if random.random() < 0.5 and ring.driver.num_free >= 3:
                ring.offer(len(ring.offered), random.randint(1, 3))
            elif random.random() < 0.15:
                ring.begin_again()
            elif len(ring.offered) > len(set(ring.served)):
                ring.record.die_when = random.choice(moments) if random.random() < 0.3 else None
                try:
                    ring.serve()
                except Killed:
                    ring.begin_again()
            ring.collect()
        ring.record.die_when = None
        while (chain := ring.device.pop()) is not None:
            ring.served.append(chain.readable[0].address // 16)
            ring.device.push(chain.head)
        ring.collect()
        assert ring.returned == ring.offered
        assert sorted(set(ring.served)) == ring.offered


@pytest.mark.parametrize("publishing", [-1, 9, 1 << 40])
def test_a_packed_rings_state_from_a_stranger_is_looked_at(publishing: int) -> None:
    with pair(PACKED) as ring, pytest.raises(ValueError, match="a used buffer of"):
        ring.open(RingState(ring.device.state.base, publishing=publishing))


@FORMATS
@pytest.mark.parametrize("base", [-1, 1 << 33, 0x7FFF_FFFF])
def test_a_base_from_a_stranger_is_looked_at(features: int, base: int) -> None:
    with pair(features) as ring, pytest.raises(ValueError, match="position"):
        ring.open(RingState(base))
